"""The trials behind docs/capabilities.md, a column each: a method on a tiny random model, three steps, and a check.

A trial that does not work raises: MethodError where the method is refused, anything else where something is broken.
"""

import copy
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from harness.config.overrides import expand, parse_words
from harness.config.resolve import Resolver
from harness.ledger.identity import to_plain
from harness.ledger.paths import to_json
from harness.ledger.seeds import Seeds
from harness.models.checkpointing import checkpoint_blocks
from harness.planning.compatible import why_not, why_not_by
from harness.planning.sharded_trial import in_two_processes
from harness.planning.together import why_not_together
from harness.probe.backbone import Backbone, build_backbone
from harness.probe.serving import with_adapters
from harness.training.optimizer import apply_change
from harness.training.sharding import attach
from harness.training.world import ALONE, World
from methods.build import build
from methods.errors import MethodError
from methods.export import peft_adapter
from methods.method import Method, Progress
from methods.spec import MethodSpec
from methods.training import Training
from methods.why_not import why_not_train

_CPU = torch.device("cpu")
_STEPS, _TOTAL, _LR = 3, 10_000, 1e-2  # of a training so long that nothing is at its end
_PLACES = {  # by column: model and dataset
    "text": ("model=minilm", "dataset=stdlib_docs"),
    "image": ("model=vit_base", "dataset=digits"),
    "causal LM": ("model=tinyllama", "dataset=kinship_lm"),
    "Conv1D": ("model=gpt2_small", "dataset=kinship_lm"),
    "quantised": ("model=tinyllama", "dataset=kinship_lm", "model.quantization=nf4"),
}


def part(axis: str, words: list[str]) -> Any:
    """The spec of one part of a run, from words as they are typed."""
    assignments = [each for override in parse_words(words) for each in expand(override)]
    rates = ("lora", "adapter") if axis == "recipe" else ()
    return Resolver().part(axis, assignments, rates=rates).spec


@cache
def _place(column: str, checkpointing: bool = False) -> tuple[Any, Any, Any, Backbone]:
    """(model, dataset, recipe, backbone) of a column."""
    words = _PLACES[column]
    model = part("model", [word for word in words if word.startswith("model")] + ["model.size=tiny"])
    dataset = replace(part("dataset", [words[1]]), about={})  # of no size: nothing is too short for it
    recipe = replace(part("recipe", ["recipe=default"]), gradient_checkpointing=checkpointing)
    return model, dataset, recipe, build_backbone(model, batch=2, length=8, layers=None, device="cpu", seed=0)


@dataclass
class TinyTrial:
    """A method on a model of its own."""

    backbone: Backbone
    model: Any
    method: Method
    total: int
    bf16: bool = False
    world: World = ALONE

    def logits(self) -> Tensor:
        self.model.eval()
        with torch.no_grad(), self.autocast():
            logits = self.model(**self.backbone.inputs).logits
        self.model.train()
        return logits

    def autocast(self) -> Any:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.bf16)

    def backward(self) -> None:
        if self.world.first and (penalty := self.method.penalty()) is not None:
            penalty.backward()
        with self.autocast():
            loss = self.backbone.loss(self.model)
        assert math.isfinite(loss.item()), "the loss is not finite"
        (loss / self.world.size).backward()

    def train(self, eps: float = 1e-8) -> None:
        groups = partial(self.method.groups, _LR, _LR, 0.0)
        optimizer = torch.optim.AdamW([{k: g[k] for k in ("params", "lr", "weight_decay")} for g in groups()], eps=eps)
        for step in range(1, _STEPS + 1):
            torch.manual_seed(step)  # of dropout
            self.backward()
            self.world.add_gradients([p for group in optimizer.param_groups for p in group["params"]])
            optimizer.step()
            change = self.method.after_step(Progress(step, self.total, 10))
            optimizer.zero_grad()
            apply_change(optimizer, change, groups)


def attached(
    spec: MethodSpec,
    column: str,
    *,
    bf16: bool = False,
    checkpointing: bool = False,
    seed: int = 0,
    world: World = ALONE,
) -> TinyTrial:
    """A method on the model of a column, before its first step. Raises MethodError for what is refused."""
    model, dataset, recipe, backbone = _place(column, checkpointing)
    if why := why_not(spec, model, dataset) or (checkpointing and why_not_by(spec, dataset, recipe)):
        raise MethodError(why)
    own = copy.deepcopy(backbone.model).train()
    own = own.to(torch.bfloat16) if bf16 else own
    method: Any = build(spec, replace(backbone.layout, writable=world is ALONE))
    trains_all = None if world is ALONE else spec.update.kind == "full"
    attach(method, own, lambda *use: torch.Generator().manual_seed(Seeds(seed).of(*use)), trains_all, _CPU)
    if spec.schedule.of_source or spec.update.beside_source:  # here from a source that was not trained
        method.start({path: tensor.clone() for path, tensor in method.tensors().items()})
    total = 0 if why_not_train(spec, Training(_TOTAL, 10, _LR)) else _TOTAL  # some train no step
    method.begin(Training(total, 10, _LR))
    return TinyTrial(backbone, own, method, total, bf16, world)


def _trains(spec: MethodSpec, column: str, **how: Any) -> TinyTrial:
    trial = attached(spec, column, **how)
    before = trial.logits()
    if not trial.total:
        return trial
    trial.train()
    assert not torch.equal(trial.logits(), before), "three steps move nothing"
    return trial


def _checkpoints(spec: MethodSpec) -> None:
    plain, other = attached(spec, "causal LM"), attached(spec, "causal LM", checkpointing=True)
    checkpoint_blocks(other.model)
    for trial in (plain, other):
        torch.manual_seed(0)
        trial.backward()
    pairs = zip(*([p.grad for g in t.method.groups(1, 1, 0) for p in g["params"]] for t in (plain, other)), strict=True)
    assert all(_close(one, two) for one, two in pairs if one is not None), "other gradients"


def _merges(spec: MethodSpec) -> None:
    trial = _trains(spec, "text")
    trained = trial.logits()
    trial.method.merge()
    assert _close(trial.logits(), trained), "another function after the merge"


def _exports(spec: MethodSpec) -> None:
    trial = _trains(spec, "text")
    config, tensors = peft_adapter(trial.method)
    with tempfile.TemporaryDirectory() as place:
        save_file(tensors, Path(place) / "adapter_model.safetensors")
        (Path(place) / "adapter_config.json").write_text(to_json(config | {"task_type": "SEQ_CLS"}))
        loaded: Any = with_adapters(trial.backbone.model, {"default": Path(place)})
    with torch.no_grad():
        assert _close(loaded(**trial.backbone.inputs).logits, trial.logits()), "another function in peft"


def _resumes(spec: MethodSpec) -> None:
    one, two = _trains(spec, "text"), attached(spec, "text", seed=5)
    two.method.restore({name: tensor.clone() for name, tensor in one.method.tensors().items()}, one.method.facts())
    assert torch.equal(one.logits(), two.logits()), "another function after the restart"


def _shards(spec: MethodSpec) -> None:
    model, dataset, recipe, _ = _place("text")
    run = {"method": spec, "model": model, "dataset": dataset, "recipe": recipe}
    if why := why_not_together(to_plain(run), "fsdp"):
        raise MethodError(why)
    alone = _trained_slowly(spec, ALONE)
    assert _close(in_two_processes(partial(_trained_slowly, spec)), alone), "another function than of one process"


def _trained_slowly(spec: MethodSpec, world: World) -> Tensor:
    """Logits after three steps; a larger eps, as AdamW makes a whole step of a gradient that is only rounding."""
    trial = attached(spec, "text", world=world)
    if trial.total:
        trial.train(eps=1e-5)
    return trial.logits()


def _plugs_in(spec: MethodSpec) -> None:
    import peft

    import methods.library as library

    if (config := getattr(library, spec.name, None)) is None:
        raise MethodError("methods.library has no function of that name.")
    _, _, _, backbone = _place("causal LM")
    model: Any = peft.get_peft_model(copy.deepcopy(backbone.model), config(r=4, target_modules=["q_proj", "v_proj"]))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=_LR, weight_decay=0.0)
    library.chain_step(model, 0, _STEPS)
    before = backbone.loss(model).item()
    for step in range(1, _STEPS + 1):
        backbone.loss(model).backward()
        optimizer.step()
        library.chain_step(model, step, _STEPS, optimizer)
        optimizer.zero_grad()
    assert backbone.loss(model).item() != before, "three steps move nothing"


def _close(one: Tensor, two: Tensor) -> bool:
    return bool((one - two).abs().max() <= 1e-4 * one.abs().max().clamp_min(1e-3))


COLUMNS: Mapping[str, Callable[[MethodSpec], object]] = {
    **{column: partial(_trains, column=column) for column in _PLACES},
    "bf16": partial(_trains, column="text", bf16=True),
    "checkpointing": _checkpoints,
    "merge": _merges,
    "export": _exports,
    "sharded": _shards,
    "resume": _resumes,
    "plugin": _plugs_in,
}
