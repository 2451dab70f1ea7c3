"""The processes that do one run together: who of them writes, which rows are whose, and what they add up or agree on.

Each holds the whole model (`ddp`) or its share of it (`fsdp`), and takes its rows of every micro-batch, so that a
recipe's sizes are global. Gradients are added up by hand and not by DistributedDataParallel: a method may put other
parameters in the place of those that it began with, and that class cannot follow.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

PATIENCE = timedelta(minutes=30)  # the first process may write a large checkpoint meanwhile
BUCKET = 2**25  # numbers that are added up at once: 128 MB of float32


@dataclass(frozen=True)
class World:
    """This process, number `rank` of `size`. Alone, everything here is what it is given."""

    rank: int = 0
    size: int = 1
    kind: str = "none"  # ddp or fsdp
    nodes: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes: store, checkpoint, events."""
        return self.rank == 0

    @property
    def facts(self) -> dict[str, Any] | None:
        """For the record's provenance; None alone."""
        if self.size == 1:
            return None
        return {"kind": self.kind, "processes": self.size} | ({"nodes": self.nodes} if self.nodes > 1 else {})

    def rows(self, count: int) -> tuple[int, int]:
        """First and end of this process's rows of a micro-batch of `count`: parts that differ by one row at most."""
        return self.rank * count // self.size, (self.rank + 1) * count // self.size

    def any(self, *flags: bool) -> list[bool]:
        """For each flag whether it is set in some process."""
        if self.size == 1:
            return list(flags)
        table = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(table, dist.ReduceOp.MAX)
        return [bool(flag) for flag in table.tolist()]

    def ends_window(self, step: int, every: int, wanted: bool) -> bool:
        """Whether some process wants the training window to end; asked of all in each `every`th step."""
        return wanted if self.size == 1 else step % every == 0 and self.any(wanted)[0]

    def gather(self, value: Any) -> list[Any]:
        """Everyone's, in the order of ranks."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def add(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Every gradient becomes the sum over all processes, but for sharded ones, which are that already.

        A process without rows, or without the penalty, may lack some that others have.
        """
        if self.size == 1:
            return
        here = [p for p in parameters if not isinstance(p, DTensor)]
        for parameter, held in zip(here, self.any(*(p.grad is not None for p in here)), strict=True):
            if held and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for bucket in _buckets([p.grad for p in here if p.grad is not None]):
            flat = self.add(torch.cat([gradient.reshape(-1) for gradient in bucket]))
            for gradient, part in zip(bucket, flat.split([g.numel() for g in bucket]), strict=True):
                gradient.copy_(part.view_as(gradient))


ALONE = World()


def join(rank: int, size: int, kind: str, device: torch.device) -> World:
    """The group that the environment names (MASTER_ADDR, MASTER_PORT, and LOCAL_WORLD_SIZE on several nodes).

    On GPUs, what is on the host goes by gloo.
    """
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, rank=rank, world_size=size, timeout=PATIENCE)
    return World(rank, size, kind, size // int(os.environ.get("LOCAL_WORLD_SIZE", size)))


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbours of one dtype and device, `BUCKET` numbers at most unless one alone has more."""
    bucket: list[Tensor] = []
    for gradient in gradients:
        alike = bucket and (bucket[0].dtype, bucket[0].device) == (gradient.dtype, gradient.device)
        if bucket and not (alike and sum(g.numel() for g in bucket) + gradient.numel() <= BUCKET):
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket
