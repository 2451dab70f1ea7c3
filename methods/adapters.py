"""The adapter methods of the study: one update on every site, constant or in a chain.

Refuses a chain that never merged (I22) and a target that is not found once in every block.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from methods.errors import MethodError
from methods.head import TrainedHead
from methods.inject import SiteUpdate, eject, inject
from methods.method import Draw, Layout, Loop, Progress
from methods.schedule.chain import count_ends, ends_at, link_length
from methods.sites import AdapterSite, find_sites
from methods.spec import BaSparse, Chain, Columns, LowRank, MethodSpec
from methods.update.ba_sparse import BaSparseUpdate
from methods.update.columns import ColumnsUpdate
from methods.update.low_rank import LowRankUpdate


class AdapterMethod:
    """Attach after the model is on its device; `tensors` are the live ones: clone to keep."""

    def __init__(self, spec: MethodSpec, layout: Layout) -> None:
        self.spec = spec
        self.layout = layout
        self.updates: dict[str, SiteUpdate] = {}  # by site path
        self._past: list[dict[str, dict[str, Tensor]]] = []  # finished links: site path -> state, in host memory
        self._links: list[dict[str, Any]] = []

    def attach(self, model: nn.Module, draw: Draw) -> None:
        self.model, self._draw = model, draw
        self._head = TrainedHead(model, self.layout.head)
        self.sites = find_sites(model, self.layout, self.spec.targets)
        self.updates = {site.path: make_update(self.spec, site) for site in self.sites}
        for update in self.updates.values():
            update.begin(draw, 0)
        inject(model, self.updates)

    def groups(self, lr: float, head_lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Adapters never decay (study, §1.1). LoRA+ puts B in its own group at `b_over_a` times the rate of A."""
        trained = [(name, p) for update in self.updates.values() for name, p in update.named_parameters()]
        ratio = self.spec.rates.b_over_a
        fast = [p for name, p in trained if name == "b" and ratio != 1.0]
        slow = [p for name, p in trained if name != "b" or ratio == 1.0]
        groups = [
            {"name": "adapter", "params": slow, "lr": lr, "weight_decay": 0.0},
            {"name": "adapter_b", "params": fast, "lr": lr * ratio, "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]] + self._head.groups(head_lr, weight_decay)

    def after_step(self, progress: Progress) -> Loop:
        """Column writes and masks; at the end of a link: merge, next factor or columns, and a fresh optimizer state."""
        for update in self.updates.values():
            update.after_step(progress.step)
        move = self.spec.update
        if isinstance(move, BaSparse) and move.mask == "training" and move.every > progress.total:
            raise MethodError(f"{self.spec.name}: no mask is taken within {progress.total} steps; lower update.every.")
        if not isinstance(self.spec.schedule, Chain):
            return Loop.GO
        length = link_length(self.spec.schedule, progress.total, progress.steps_per_epoch)
        if ends_at(length, progress.step, progress.total):
            self._next_link(progress.step)
            return Loop.FRESH_OPTIMIZER
        due = count_ends(length, progress.total)
        if progress.step >= progress.total and len(self._links) != due:
            raise MethodError(f"{self.spec.name}: {len(self._links)} of {due} links were merged.")
        return Loop.GO

    def _next_link(self, step: int) -> None:
        self._past.append({path: _copied(update.state()) for path, update in self.updates.items()})
        ends = [update.end() for update in self.updates.values()]
        moved = math.sqrt(sum(end.update_squared for end in ends))
        lost = math.sqrt(sum(end.lost_squared for end in ends))
        self._links.append(
            {
                "index": len(self._links),
                "step": step,
                "update_norm": moved,
                "cast_error": lost / moved if moved else 0.0,
                "columns": max(end.columns for end in ends),
            }
        )
        for update in self.updates.values():
            update.begin(self._draw, len(self._links))

    def tensors(self) -> dict[str, Tensor]:
        """adapter.<site>.<name>, link.<n>.<site>.<name> for each finished link, head.<parameter>."""
        now = {f"adapter.{path}.{name}": t for path, u in self.updates.items() for name, t in u.state().items()}
        past = {
            f"link.{number}.{path}.{name}": tensor
            for number, link in enumerate(self._past)
            for path, state in link.items()
            for name, tensor in state.items()
        }
        return now | past | self._head.tensors()

    def facts(self) -> dict[str, Any]:
        return {"links": [dict(link) for link in self._links]}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """W goes back to what was loaded, the finished links are merged again in order, then the present one is set."""
        self._links = [dict(link) for link in facts["links"]]
        self._head.restore(tensors)
        self._past = []
        for number in range(len(self._links)):
            self._past.append({path: _copied(_part(tensors, f"link.{number}.{path}.")) for path in self.updates})
        for path, update in self.updates.items():
            update.reset()
            for link in self._past:
                update.load(link[path])
                update.end()
            update.load(_part(tensors, f"adapter.{path}."))

    def links(self) -> list[dict[str, Any]]:
        return [dict(link) for link in self._links]

    def counts(self) -> dict[str, int]:
        trained = sum(p.numel() for update in self.updates.values() for p in update.parameters())
        return {"adapter": trained, "head": self._head.count()}

    def merge(self) -> None:
        for update in self.updates.values():
            update.merge()
        eject(self.model, self.sites)
        self._head.merge()
        self.updates = {}

    def head_parameters(self) -> Mapping[str, nn.Parameter]:
        """The head's by their names in the model."""
        return self._head.parameters


def make_update(spec: MethodSpec, site: AdapterSite) -> SiteUpdate:
    """The update of one site at its zero; raises MethodError for what the site's weight does not allow."""
    update = spec.update
    if isinstance(update, LowRank):
        if isinstance(spec.schedule, Chain) and not site.writable:
            raise MethodError(f"{spec.name} merges into W at every link, and {site.path} is sharded or quantised.")
        return LowRankUpdate(update, site)
    if isinstance(update, Columns):
        return ColumnsUpdate(update, site)
    if isinstance(update, BaSparse):
        return BaSparseUpdate(update, site)
    raise MethodError(f"'{update.kind}' is no update of single weights.")


def _copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.to("cpu", copy=True) for name, tensor in state.items()}


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
