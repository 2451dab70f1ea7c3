"""Which columns of W a column update moves, at each link of a chain (study, §1.2 rows 7 to 11).

One place for every selector, so that r-cLA is one algorithm and two modules or seeds never share a draw by accident.
"""

import torch
from torch import Tensor

from methods.errors import MethodError
from methods.method import Draw
from methods.spec import Columns


def select(spec: Columns, width: int, path: str, link: int, draw: Draw) -> Tensor:
    """Indices (rank,) into the `width` inputs of the module at `path`, distinct. Raises MethodError if rank > width."""
    rank = spec.rank
    if rank > width:
        raise MethodError(f"{path} has {width} input columns, fewer than rank {rank}; take a smaller rank.")
    if spec.selector == "first":
        return window(link, rank, width)
    use = ("selector", path) if spec.stream is None else ("selector", spec.stream, path)
    if spec.selector == "shuffled":
        cycle, position = divmod(link, count_windows(rank, width))
        order = torch.randperm(count_windows(rank, width), generator=draw(*use, cycle))
        return window(int(order[position]), rank, width)
    generator = draw(*use, link)
    if spec.selector == "random":
        return torch.randperm(width, generator=generator)[:rank].sort().values
    offset = int(torch.randint(width - rank + 1, (1,), generator=generator))
    return torch.arange(offset, offset + rank)


def window(number: int, rank: int, width: int) -> Tensor:
    """Columns number·rank + i modulo width, i = 0 … rank-1: c³LA's circular shift."""
    return (number * rank + torch.arange(rank)) % width


def count_windows(rank: int, width: int) -> int:
    """⌈width / rank⌉; the last one wraps around when rank does not divide the width."""
    return -(-width // rank)
