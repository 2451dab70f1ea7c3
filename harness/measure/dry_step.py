"""A forward and backward pass that leaves no trace, so that what is exact can be counted outside every timed window.

It refuses nothing and restores three things bit for bit: gradients, buffers, and the generators of every device in use.
Parameters are not touched, because no optimizer steps.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def dry_step(model: nn.Module, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Inside, every gradient starts absent. `parameters`: those that are trained, in the model or beside it."""
    every = {id(p): p for p in (*model.parameters(), *parameters)}.values()
    gradients = [(parameter, parameter.grad) for parameter in every]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    for parameter, _ in gradients:
        parameter.grad = None
    with torch.random.fork_rng(devices=_cuda_devices(every)):
        try:
            yield
        finally:
            for parameter, gradient in gradients:
                parameter.grad = gradient
            _put_back(buffers)


def _cuda_devices(tensors: Iterable[Tensor]) -> list[int]:
    indices = {tensor.device.index for tensor in tensors if tensor.device.type == "cuda"}
    return sorted(torch.cuda.current_device() if index is None else index for index in indices)


@torch.no_grad()
def _put_back(buffers: Sequence[tuple[Tensor, Tensor]]) -> None:
    for buffer, before in buffers:
        buffer.copy_(before)
