"""A method on a tiny random model of its own, as the trials of `capability_trials` and `method_contract` want it."""

import copy
import math
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from harness.config.overrides import expand, parse_words
from harness.config.resolve import Resolver
from harness.ledger.seeds import Seeds
from harness.planning.compatible import why_not, why_not_by
from harness.probe.backbone import Backbone, build_backbone
from harness.training.optimizer import apply_change
from harness.training.sharding import attach
from harness.training.world import ALONE, World
from methods.build import build
from methods.errors import MethodError
from methods.method import Method, Progress
from methods.spec import MethodSpec
from methods.training import Training
from methods.why_not import why_not_train

_CPU = torch.device("cpu")
STEPS, _TOTAL, LR = 3, 10_000, 1e-2  # of a training so long that nothing is at its end
PLACES = {  # by column: model and dataset
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
def place_of(column: str, checkpointing: bool = False) -> tuple[Any, Any, Any, Backbone]:
    """(model, dataset, recipe, backbone) of a column."""
    words = PLACES[column]
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
    dtype: torch.dtype = torch.float32
    world: World = ALONE

    def logits(self) -> Tensor:
        self.model.eval()
        with torch.no_grad(), self.autocast():
            logits = self.model(**self.backbone.inputs).logits
        self.model.train()
        return logits

    def autocast(self) -> Any:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def backward(self) -> None:
        if self.world.first and (penalty := self.method.penalty()) is not None:
            penalty.backward()
        with self.autocast():
            loss = self.backbone.loss(self.model)
        assert math.isfinite(loss.item()), "the loss is not finite"
        (loss / self.world.size).backward()

    def train(self, eps: float = 1e-8) -> None:
        groups = partial(self.method.groups, LR, LR, 0.0)
        optimizer = torch.optim.AdamW([{k: g[k] for k in ("params", "lr", "weight_decay")} for g in groups()], eps=eps)
        for step in range(1, STEPS + 1):
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
    dtype: torch.dtype = torch.float32,
    checkpointing: bool = False,
    writable: bool = True,
    seed: int = 0,
    world: World = ALONE,
) -> TinyTrial:
    """A method on the model of a column, before its first step. Raises MethodError for what is refused."""
    model, dataset, recipe, backbone = place_of(column, checkpointing)
    if why := why_not(spec, model, dataset) or (checkpointing and why_not_by(spec, dataset, recipe)):
        raise MethodError(why)
    own = copy.deepcopy(backbone.model).train()
    own = own if dtype == torch.float32 else own.to(dtype)  # packed weights refuse even their own
    method: Any = build(spec, replace(backbone.layout, writable=writable and world is ALONE))
    trains_all = None if world is ALONE else spec.update.kind == "full"
    attach(method, own, lambda *use: torch.Generator().manual_seed(Seeds(seed).of(*use)), trains_all, _CPU)
    if spec.schedule.of_source or spec.update.beside_source:  # here from a source that was not trained
        method.start({path: tensor.clone() for path, tensor in method.tensors().items()})
    total = 0 if why_not_train(spec, Training(_TOTAL, 10, LR)) else _TOTAL  # some train no step
    method.begin(Training(total, 10, LR))
    return TinyTrial(backbone, own, method, total, dtype, world)
