"""The blocks of a model: what is sharded, gathered and counted as one."""

from collections.abc import Iterator

from torch import nn


def blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The members of the outermost module lists: the layers of a transformer, and those of its vision tower."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from blocks(child)
