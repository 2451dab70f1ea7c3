"""What every method must keep (CONTRIBUTING.md), held on a tiny random model, for a method from anywhere."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import torch

from harness.planning.capabilities import Tried, tried
from harness.planning.capability_trials import COLUMNS, START, Noted
from harness.planning.fast_path import adapted, differing, moved_outputs
from harness.planning.tiny_trial import attached
from methods.spec import MethodSpec, SiteUpdateSpec

PLACE = "text"  # the column whose model is tried


def contract(spec: MethodSpec) -> Iterator[tuple[str, Tried]]:
    """Each promise, then each column of docs/capabilities.md, with what came of it. Ranks above 4 are taken as 4."""
    small = replace(spec, update=replace(spec.update, rank=4)) if getattr(spec.update, "rank", 0) > 4 else spec  # type: ignore[call-arg]
    for name, check in {**PROMISES, **COLUMNS}.items():
        yield name, tried(partial(check, small))


def _frozen(spec: MethodSpec) -> None:
    """What is neither trained nor a weight that the method is for is bit for bit what it was."""
    there = attached(spec, PLACE)
    targets = tuple(site.module_path for site in getattr(there.method, "sites", ()))
    frozen = ((name, p) for name, p in there.model.named_parameters() if not p.requires_grad)
    kept = {name: p.detach().clone() for name, p in frozen if not name.startswith(targets or ("\0",))}
    there.train()
    now = dict(there.model.named_parameters())
    moved = [name for name, tensor in kept.items() if name in now and not torch.equal(now[name], tensor)]
    assert not moved, f"{moved[0]} is not trained, and moved"


def _gradients(spec: MethodSpec) -> None:
    there = attached(spec, PLACE)
    if not there.total:
        return
    there.backward()
    for group in there.method.groups(1e-3, 1e-3, 0.0):
        if missing := [p for p in group["params"] if p.grad is None or not p.grad.isfinite().all()]:
            raise AssertionError(f"{len(missing)} tensors of the group {group['name']} have no finite gradient")
    there.train()
    there.backward()
    trained = [p for group in there.method.groups(1e-3, 1e-3, 0.0) for p in group["params"]]
    if still := sum(p.grad is None or not p.grad.any() for p in trained):
        raise Noted(f"{still} of {len(trained)} tensors have a gradient of zero after three steps on the tiny model.")


def _kept(spec: MethodSpec) -> None:
    """Each trained tensor is among those that are saved."""
    there = attached(spec, PLACE)
    if there.total:
        there.train()
    saved = {tuple(tensor.shape) for tensor in there.method.tensors().values()}
    trained = [p for group in there.method.groups(1e-3, 1e-3, 0.0) for p in group["params"]]
    lost = [tuple(p.shape) for p in trained if tuple(p.shape) not in saved]
    assert not lost, f"a trained tensor of shape {lost[0]} is not among the saved ones"


def _fast(spec: MethodSpec) -> None:
    """The fast path gives what the branch gives, which a weight that cannot be written runs on."""
    fast = attached(spec, PLACE, dtype=torch.float64) if isinstance(spec.update, SiteUpdateSpec) else None
    if fast is None or not any(module.is_fast for module in adapted(fast.model)):
        raise Noted("it declares no fast path.")
    dense = attached(spec, PLACE, dtype=torch.float64, writable=False)
    pairs = zip(moved_outputs(fast.model, fast.method), moved_outputs(dense.model, dense.method), strict=True)
    assert not any(differing(one, two) for one, two in pairs), "the fast path computes something else than the branch"


PROMISES: Mapping[str, Callable[[MethodSpec], object]] = {
    START: COLUMNS[START],
    "weights beside its targets bit-identical": _frozen,
    "a gradient for each trained tensor": _gradients,
    "each trained tensor is saved": _kept,
    "fast path = branch": _fast,
}
