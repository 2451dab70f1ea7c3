"""One place where a model comes from: the hub, an installed package, this project, or its config alone.

Imports only the transformers classes of the model's own family. Refuses remote code and pickled weights.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.ledger.dataset_spec import TaskSpec
from harness.ledger.errors import SpecError, nearest
from harness.ledger.identity import canonical
from harness.ledger.model_spec import BuiltinModel, HubModel, ModelSpec
from harness.ledger.seeds import Seeds
from harness.models.config import DTYPES, layout_of, make_config, text_config
from harness.models.families import is_lm, model_class, outputs
from harness.models.files import stamp
from harness.models.head import draw_head
from harness.models.kept_base import Key, from_kept
from harness.models.loaded import LoadedModel
from harness.models.quantise import pack, quantise

BUILDERS = ("gemma3_micro", "minilm", "vit_micro")
__all__ = ["LoadedModel", "build_from_config", "load_model"]


def load_model(spec: ModelSpec, task: TaskSpec, seeds: Seeds, cache: Path) -> LoadedModel:
    """The model with a fresh head for `task`, drawn from seeds.of("init", "head"): equal for all methods of a seed.

    Raises DataError when weights are not here or not what the card says, SpecError when the model cannot do the task.
    """
    load, weights = _loader(spec, task, seeds, cache)
    packs = spec.quantization is not None
    loaded = from_kept(_key(spec, task, weights), lambda: quantise(load()), keep=packs)
    draw_head(loaded.model, loaded.layout.head, seeds.of("init", "head"), only=loaded.drawn)
    return loaded


def _loader(
    spec: ModelSpec, task: TaskSpec, seeds: Seeds, cache: Path
) -> tuple[Callable[[], LoadedModel], tuple[Any, ...]]:
    """What loads the model but for its head's draw, and what decides its weights beside the card."""
    if spec.size == "tiny":
        from harness.models.tiny import load_tiny

        return lambda: load_tiny(spec, task, seeds, cache), (seeds.root,)
    if isinstance(source := spec.source, HubModel):
        from harness.models.hub import find_weights, load_hub

        folder, revision = find_weights(spec, source)
        return lambda: load_hub(spec, source, task, folder, revision), (folder, stamp(folder))
    return lambda: _builtin(spec, source, task, seeds), ()


def _key(spec: ModelSpec, task: TaskSpec, weights: tuple[Any, ...]) -> Key:
    """Equal for tasks that take the same class and the same width of head."""
    return canonical(spec), is_lm(task), outputs(task), *weights


def build_from_config(
    spec: ModelSpec, task: TaskSpec, *, layers: int | None = None, device: str | torch.device = "cpu"
) -> nn.Module:
    """The same class from its card alone, with random weights (on "meta": none); `layers` makes it shallower.

    The efficiency probe and the exact counts need no download. Draws from the global generator.
    """
    config = make_config(spec, task)
    if layers is not None:
        text_config(config).num_hidden_layers = layers
    dtype = torch.float32 if spec.size == "tiny" else DTYPES[spec.dtype]
    with torch.device(device):
        model = model_class(spec, task)._from_config(config, dtype=dtype).eval()
    return model if spec.quantization is None else pack(model, spec, layout_of(spec, task).head)


def _builtin(spec: ModelSpec, source: BuiltinModel, task: TaskSpec, seeds: Seeds) -> LoadedModel:
    if source.builder == "minilm":
        from harness.models.minilm import load_minilm

        return load_minilm(spec, task)
    if source.builder == "vit_micro":
        from harness.models.vit_micro import load_vit_micro

        return load_vit_micro(spec, task, seeds)
    if source.builder == "gemma3_micro":
        from harness.models.gemma3_micro import load_gemma3_micro

        return load_gemma3_micro(spec, task, seeds)
    raise SpecError(f"model.source.builder: unknown choice '{source.builder}'.{nearest(source.builder, BUILDERS)}")
