"""The memory ledger: exact bytes by role, on one untimed step. Equal on any machine, so methods compare without noise.

Unique storages are counted, never tensors: tied embeddings and views count once. What is not in it: the temporary
tensors of a kernel, allocator slack, and what a method keeps outside autograd, the model and the optimizer. With
gradient checkpointing the inputs of the blocks are in it; the one block that the backward pass computes again is not.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from harness.ledger.quantity import Measured
from harness.measure.dry_step import dry_step
from methods.quantised import quantised_modules, scales_of


def measure_ledger(
    model: nn.Module,
    forward_backward: Callable[[], Tensor],
    optimizer: torch.optim.Optimizer,
    groups: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Measured]:
    """`Record.ledger` (bytes) of one step: call it before, between or after the steps of a training, never inside one.

    forward_backward: one optimizer step's forward and backward passes, without `zero_grad` and without the step itself;
    returns the loss. groups: the optimizer's groups with their names (default: those of `optimizer`).

    weights: parameters and buffers of the model except the adapter (the trained head is among them); of packed weights
    the codes and their scales.
    adapter: trained tensors of the groups named adapter…; frozen factors, being buffers, are among the weights.
    gradients: of everything trained, at the end of the backward pass.
    optimizer: its state after a step, exact also when it has not yet stepped.
    saved_for_backward: the largest sum at any moment of what autograd keeps, parameters and buffers left out.

    Gradients, parameters, buffers and generators are bit for bit what they were.
    """
    groups = optimizer.param_groups if groups is None else groups
    trained = [parameter for group in groups for parameter in group["params"]]
    adapter = [p for group in groups if group.get("name", "").startswith("adapter") for p in group["params"]]
    scales = [scale for _, module in quantised_modules(model) for scale in scales_of(module)]
    tensors = [*model.parameters(), *model.buffers(), *scales, *trained]
    with dry_step(model, trained):
        saved = _Saved(tensors)
        with torch.autograd.graph.saved_tensors_hooks(saved.pack, saved.unpack):
            forward_backward()
        gradients = storage_bytes(p.grad for p in trained if p.grad is not None)
    sizes = {
        "weights": storage_bytes(tensors) - storage_bytes(adapter),
        "adapter": storage_bytes(adapter),
        "gradients": gradients,
        "optimizer": optimizer_bytes(optimizer),
        "saved_for_backward": saved.peak,
    }
    return {role: Measured(value, "byte") for role, value in sizes.items()}


def storage_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the unique storages behind `tensors`."""
    storages = {_key(part): part.untyped_storage().nbytes() for tensor in tensors for part in _parts(tensor)}
    return sum(storages.values())


def optimizer_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of an optimizer's state once it has stepped; found on the meta device when it has not."""
    state = optimizer.state
    if any(parameter not in state for group in optimizer.param_groups for parameter in group["params"]):
        state = _state_after_a_step(optimizer)
    return storage_bytes(value for slots in state.values() for value in slots.values() if isinstance(value, Tensor))


def _state_after_a_step(optimizer: torch.optim.Optimizer) -> Mapping[Any, Mapping[str, Any]]:
    """The state of a twin of `optimizer` that steps on shapes alone, without what needs a real device or numbers."""
    off = {"fused": None, "foreach": False, "scale_parameter": False}
    groups = []
    for group in optimizer.param_groups:
        shares = [_parts(p)[0] for p in group["params"]]
        twins = [torch.empty_like(p, device="meta", requires_grad=True) for p in shares]
        for twin in twins:
            twin.grad = torch.empty_like(twin)
        groups.append({**group, "params": twins, **off})
    build: Any = type(optimizer)
    twin = build(groups)
    twin.step()
    return twin.state


class _Saved:
    """Follows what autograd keeps: a storage counts from its first saving until its last release."""

    def __init__(self, left_out: Iterable[Tensor]) -> None:
        self._left_out = {_key(part) for tensor in left_out for part in _parts(tensor)}
        self._holders: dict[int, int] = {}
        self._now = self.peak = 0

    def pack(self, tensor: Tensor) -> "_Held | Tensor":
        if all(_key(part) in self._left_out for part in _parts(tensor)) or _is_weight(tensor):
            return tensor
        # A tensor without a history is kept as the object it is: a method may find it again and share it, as it would
        # without these hooks. One with a history is kept apart from it, or the graph would hold itself.
        return _Held(tensor if tensor.grad_fn is None else tensor.detach(), self)

    def unpack(self, held: "_Held | Tensor") -> Tensor:
        return held.tensor if isinstance(held, _Held) else held

    def hold(self, tensor: Tensor) -> None:
        for part in _parts(tensor):
            key = _key(part)
            if key not in self._holders:
                self._now += part.untyped_storage().nbytes()
                self.peak = max(self.peak, self._now)
            self._holders[key] = self._holders.get(key, 0) + 1

    def release(self, tensor: Tensor) -> None:
        for part in _parts(tensor):
            key = _key(part)
            self._holders[key] -= 1
            if not self._holders[key]:
                del self._holders[key]
                self._now -= part.untyped_storage().nbytes()


class _Held:
    """What autograd holds in place of a saved tensor; it lives exactly as long as the saving does."""

    def __init__(self, tensor: Tensor, saved: _Saved) -> None:
        self.tensor, self._saved = tensor, saved
        saved.hold(tensor)

    def __del__(self) -> None:
        self._saved.release(self.tensor)


def _parts(tensor: Tensor) -> tuple[Tensor, ...]:
    """The tensors that have storages: a sparse one (COO) is its indices and its values, a sharded one its share."""
    if isinstance(tensor, DTensor):
        return (tensor.to_local(),)
    return (tensor._indices(), tensor._values()) if tensor.layout is torch.sparse_coo else (tensor,)


def _is_weight(tensor: Tensor) -> bool:
    """Of a sharded parameter, what was gathered for the block that runs: it is freed before the backward pass."""
    return isinstance(tensor, nn.Parameter) or isinstance(tensor._base, nn.Parameter)


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata  # the storage itself: its address is 0 for every tensor on the meta device
