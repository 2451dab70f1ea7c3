"""FSDP2: each process holds its share of every weight that the method leaves alone, or of all when it trains them all.

https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html. What an adapter method trains is small: it stays
whole in every process, is added up as with `ddp`, and so may change its shape. An update stays beside the sharded W.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from harness.models.blocks import blocks
from methods.dtypes import master_dtype
from methods.method import Draw, Method


def attach(method: Method, model: nn.Module, draw: Draw, trains_all: bool | None, device: torch.device) -> None:
    """`method.attach`, and the shares of a model that is sharded.

    trains_all: whether its every weight is trained: the method is then attached to shares of its master copy. None: the
    model is not sharded.
    """
    if not trains_all:
        method.attach(model, draw)
        if trains_all is not None:
            _shard(model, {p for p in model.parameters() if p.requires_grad}, device)
        return
    for parameter in model.parameters():
        parameter.data = parameter.data.to(master_dtype(parameter.dtype))
    _shard(model, set(), device)
    method.attach(model, draw)


def _shard(model: nn.Module, whole: set[nn.Parameter], device: torch.device) -> None:
    """Block by block, so that one block at a time is gathered; gradients are sums, not means."""
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    for module in [*blocks(model), model]:
        fully_shard(module, mesh=mesh, ignored_params=whole)
        assert isinstance(module, FSDPModule)
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)  # gloo has no other


def gather_tensors(tensors: Mapping[str, Tensor], first: bool) -> dict[str, Tensor]:
    """Copies in host memory, shares put together: those for the first process alone. All have to call it."""
    kept = {}
    for name, tensor in tensors.items():
        whole = tensor.full_tensor().detach() if isinstance(tensor, DTensor) else tensor.detach()
        if first or not isinstance(tensor, DTensor):
            kept[name] = whole.to("cpu", copy=True)
    return kept


def scatter_tensors(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The reverse, shared as `like`: from the first process. All have to call it; the others' tensors are not read."""
    spread = dict(tensors)
    for name, shares in like.items():
        if isinstance(shares, DTensor):
            source = tensors[name] if name in tensors else torch.empty(shares.shape, dtype=shares.dtype)
            spread[name] = distribute_tensor(source.to(shares.device), shares.device_mesh, shares.placements)
    return spread


def gather_moments(optimizer: torch.optim.Optimizer, first: bool) -> dict[str, Any]:
    """`optimizer.state_dict()` with whole tensors, for the first process alone where they are shares."""
    plain = optimizer.state_dict()
    state = {number: _whole(slots, first) for number, slots in plain["state"].items()}
    return {**plain, "state": state}


def _whole(slots: Mapping[str, Any], first: bool) -> dict[str, Any]:
    shares = {name: value for name, value in slots.items() if isinstance(value, DTensor)}
    return {**slots, **gather_tensors(shares, first)} if shares else dict(slots)


def scatter_moments(state: Mapping[int, Mapping[str, Any]], parameters: list[nn.Parameter]) -> dict[int, Any]:
    """Every process has all of `state`, of the parameters by their numbers, and takes its shares."""
    return {number: _shares(slots, parameters[number]) for number, slots in state.items()}


def _shares(slots: Mapping[str, Any], parameter: nn.Parameter) -> dict[str, Any]:
    if not isinstance(parameter, DTensor):
        return dict(slots)
    mesh, how = parameter.device_mesh, parameter.placements
    return {
        name: distribute_tensor(value.to(parameter.device), mesh, how, src_data_rank=None)
        if isinstance(value, Tensor) and value.shape == parameter.shape
        else value
        for name, value in slots.items()
    }
