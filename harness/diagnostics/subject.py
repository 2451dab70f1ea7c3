"""A finished run put together again: the pretrained model, its method at a kept checkpoint, its task and its data."""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from harness.config.settings import Settings
from harness.data.load import Data, Encoder, load_data
from harness.diagnostics.questions import folder_of
from harness.ledger.errors import DataError
from harness.ledger.parse import parse
from harness.ledger.paths import RunPaths
from harness.ledger.record import Record
from harness.ledger.seeds import Seeds
from harness.ledger.spec import RunSpec
from harness.measure.clocks import pick_device
from harness.measure.precision import autocast
from harness.models.load import LoadedModel, load_model
from harness.models.loaded import check_base, with_room_for
from harness.models.quantise import dequantise
from harness.tasks.build import build as build_task
from harness.tasks.task import Example, Prediction, Task
from harness.training.evaluate import predict
from methods.build import build as build_method
from methods.library_types import prompt_length
from methods.method import Method
from methods.sites import AdapterSite, find_sites


@dataclass(frozen=True, eq=False)
class WeightChange:
    """One weight matrix before and after the training, float32 on the CPU, (out, in)."""

    path: str
    layer: int
    target: str  # its canonical name: q, v, …
    before: Tensor
    after: Tensor


@dataclass(eq=False)
class Subject:
    """What a kind may look at. The model is in eval mode on its device, with the method at the checkpoint.

    `merged` and `changes` put the update into the weights for good; `predict` goes on to work.
    """

    run_id: str
    record: Record
    spec: RunSpec
    settings: Settings
    loaded: LoadedModel
    model: nn.Module
    method: Method
    task: Task
    data: Data
    device: torch.device
    counts: Mapping[str, int]  # trained parameters, as the method gave them before any merge
    links: int  # of a chain, those that have moved the weights; else 1
    bits: int  # of a stored weight of the update
    _before: dict[str, Tensor] = field(repr=False)

    def predict(self, examples: Sequence[Example], lengths: Sequence[int]) -> list[Prediction]:
        """Predictions in the order of the examples, in eval mode and the run's own precision."""
        return predict(
            self.model,
            self.task,
            examples,
            lengths,
            batch_size=self.spec.recipe.eval_batch_size,
            device=self.device,
            autocast=self.autocast(),
        )

    def autocast(self) -> AbstractContextManager[Any]:
        """As the run computed: bfloat16 where its recipe and this device have it, else nothing."""
        return autocast(self.spec.recipe.precision, self.device)

    @cached_property
    def merged(self) -> nn.Module:
        """The model as plain modules with the update in its weights. Raises MethodError where it cannot be merged."""
        self.method.merge()
        return self.model

    @cached_property
    def changes(self) -> tuple[WeightChange, ...]:
        """The weights that the method adapts (q and v of one without an adapter), before and after; merges."""
        return tuple(
            WeightChange(site.path, site.layer, site.target, self._before[site.path], _copy(site.weight))
            for site in self.sites
        )

    @cached_property
    def sites(self) -> tuple[AdapterSite, ...]:
        """Where those weights are in the merged model; merges."""
        return tuple(find_sites(self.merged, self.loaded.layout, _targets(self.spec, self.loaded)))


def load_subject(folder: RunPaths, record: Record, settings: Settings, checkpoint: str) -> Subject:
    """The run at its `selected` or its `last` checkpoint. Raises DataError where it kept no weights of that one."""
    kept = folder_of(folder, record, checkpoint)
    spec = parse(RunSpec, record.spec, "run")
    device = pick_device(settings.device)
    seeds = Seeds(spec.seed)
    torch.manual_seed(seeds.of("init", "model"))
    loaded = load_model(spec.model, spec.dataset.task, seeds, settings.cache)
    loaded = with_room_for(loaded, prompt_length(spec.method.update))
    check_base(loaded, record.data.get("model_revision"), folder.id)
    task = build_task(spec.dataset, loaded)
    data = load_data(spec.dataset, Encoder(task.encode, task.length, loaded.processor_key), settings.cache)
    dequantise(loaded.model)  # the same function, of weights that can be written
    model: Any = loaded.model.to(device)
    before = {site.path: _copy(site.weight) for site in find_sites(model, loaded.layout, _targets(spec, loaded))}
    method = build_method(spec.method, loaded.layout)
    method.attach(model, lambda *use: torch.Generator().manual_seed(seeds.of(*use)))
    method.restore(*_read(kept))
    model.eval()
    links = 1 + sum("link" in entry for entry in method.history())
    bits = max((8 * tensor.element_size() for tensor in method.tensors().values()), default=32)
    known = (method.counts(), links, bits, before)
    return Subject(folder.id, record, spec, settings, loaded, model, method, task, data, device, *known)


def _read(kept: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        return load_file(kept / "state.safetensors"), json.loads((kept / "facts.json").read_bytes())
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"its weights in {kept.name}/ cannot be read ({error}).") from error


def _targets(spec: RunSpec, loaded: LoadedModel) -> tuple[str, ...]:
    return spec.method.targets or tuple(target for target in ("q", "v") if target in loaded.layout.targets)


def _copy(weight: Tensor) -> Tensor:
    return weight.to("cpu", torch.float32, copy=True)
