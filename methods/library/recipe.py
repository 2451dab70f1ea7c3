"""What a LoraConfig cannot say of a method: which factor is frozen, how A is drawn, how many links there are."""

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from methods.spec import Columns, LowRank
from methods.update.init import factor
from methods.update.selector import select


@dataclass(frozen=True)
class Recipe:
    """One method. Its LORA adapter has `links` blocks of equal rank, which are trained one after the other."""

    name: str
    update: Columns | LowRank
    links: int
    seed: int

    @property
    def trains_a(self) -> bool:
        return isinstance(self.update, LowRank) and self.update.train_a

    def first_a(self, rank: int, width: int, path: str) -> Tensor:
        """A (rank, width) of all links for the module at `path`. Raises MethodError when a link has more columns."""
        each = rank // self.links
        return torch.cat([self._link_a(each, width, path, link) for link in range(self.links)])

    def _link_a(self, rank: int, width: int, path: str, link: int) -> Tensor:
        if isinstance(self.update, LowRank):
            return factor(self.update.init_a, (rank, width), self._draw("init", "adapter", path, link))
        index = select(replace(self.update, rank=rank), width, path, link, self._draw)
        rows = torch.zeros(rank, width)
        rows[torch.arange(rank), index] = 1.0
        return rows

    def _draw(self, *use: str | int) -> Generator:
        """The harness's own streams (`harness.ledger.seeds`), so that a seed means the same here and there."""
        digest = hashlib.sha256("/".join(map(str, (self.seed, *use))).encode()).digest()
        return Generator().manual_seed(int.from_bytes(digest[:4], "big"))
