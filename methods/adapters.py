"""The adapter methods: one update on every site, and one schedule that changes them in the course of the training.

Refuses a target that is not found once in every block.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from methods.errors import MethodError
from methods.head import TrainedHead
from methods.inject import eject, inject
from methods.method import Change, Draw, Layout, Progress
from methods.rank_spec import Weighted
from methods.ranks import rank_of, why_not_ranks
from methods.schedule.chain import under
from methods.schedule.make import make_schedule
from methods.sites import AdapterSite, find_sites
from methods.spec import MethodSpec, SiteUpdateSpec
from methods.training import Training
from methods.update.base import SiteUpdate
from methods.update.make import make_update
from methods.why_not import why_not_train


class AdapterMethod:
    """Attach after the model is on its device; `tensors` are the live ones: clone to keep."""

    def __init__(self, spec: MethodSpec, layout: Layout) -> None:
        if not isinstance(spec.update, SiteUpdateSpec):
            raise MethodError(f"{spec.name}: '{spec.update.kind}' is no update of single weights.")
        self.spec = spec
        self.layout = layout
        self.schedule = make_schedule(spec.schedule)
        self._update = spec.update
        self.updates: dict[str, SiteUpdate] = {}  # by site path

    def attach(self, model: nn.Module, draw: Draw) -> None:
        self.model = model
        self._head = TrainedHead(model, self.layout.head)
        self.sites = find_sites(model, self.layout, self.spec.targets)
        self.updates = {site.path: make_update(self._of(site), site) for site in self.sites}
        for update in self.updates.values():
            update.peers = tuple(self.updates.values())
            update.begin(draw, 0)
        self.schedule.attach(self.updates, draw)
        if self.spec.schedule.begins_anew:
            self._head.remember()
        inject(model, self.updates)

    def _of(self, site: AdapterSite) -> SiteUpdateSpec:
        """The update of one site: of the rank that `method.ranks` gives it, and of the same scale alpha / rank."""
        if not (ranks := self.spec.ranks):
            return self._update
        own: Any = self._update
        depth = 1 + max(other.layer for other in self.sites)
        if why := why_not_ranks(ranks, self.spec.targets, depth):
            raise MethodError(f"{self.spec.name}: {why}")
        rank = rank_of(ranks, own.rank, site.target, site.layer, depth)
        return replace(own, rank=rank, alpha=own.alpha * rank / own.rank)

    @torch.no_grad()
    def start(self, tensors: Mapping[str, Tensor]) -> None:
        """From the trained head and updates of a run of the same model, as its `tensors` were, not from zero.

        An update `beside_source` looks at those of the source, and keeps its own values and head.
        """
        if not self._update.beside_source:
            self._head.restore(tensors)
        for path, update in self.updates.items():
            update.start(under(tensors, f"adapter.{path}."))
        self.schedule.start()

    def begin(self, training: Training) -> None:
        if why := why_not_train(self.spec, training):
            raise MethodError(why)
        self.schedule.begin(training)

    def groups(self, lr: float, head_lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Adapters never decay (study, §1.1). LoRA+ puts B in its own group at `b_over_a` times the rate of A."""
        trained = [(name, p) for update in self.updates.values() for name, p in update.named_parameters()]
        ratio, gate = self.spec.rates.b_over_a, self.spec.rates.gate
        fast = [p for name, p in trained if name == "b" and ratio != 1.0]
        gates = [p for name, p in trained if name == "gate" and gate is not None]
        chosen = [p for name, p in trained if name == "selection"]
        others = {id(p) for p in (*fast, *gates, *chosen)}
        slow = [p for _, p in trained if id(p) not in others]
        groups = [
            {"name": "adapter", "params": slow, "lr": lr, "weight_decay": 0.0},
            {"name": "adapter_b", "params": fast, "lr": lr * ratio, "weight_decay": 0.0},
            {"name": "gate", "params": gates, "lr": gate, "weight_decay": 0.0, "constant": True},
            {"name": "selection", "params": chosen, "lr": gate or lr, "weight_decay": 0.0, "constant": True}
            | ({"betas": self._update.betas} if isinstance(self._update, Weighted) else {}),
        ]
        return [group for group in groups if group["params"]] + self._head.groups(head_lr, weight_decay)

    def penalty(self) -> Tensor | None:
        """The sum over all sites of what their updates ask for."""
        penalties = [penalty for update in self.updates.values() if (penalty := update.penalty()) is not None]
        return torch.stack(penalties).sum() if penalties else None

    def after_step(self, progress: Progress) -> Change:
        """The updates first (column writes, masks), then the schedule: the end of a link, another rank."""
        for update in self.updates.values():
            update.after_step(progress)
        change = self.schedule.after_step(progress)
        if change.anew:
            self._head.begin_anew()
        return change

    def tensors(self) -> dict[str, Tensor]:
        """adapter.<site>.<name>, what the schedule remembers (link.<n>.<site>.<name>), head.<parameter>."""
        present = {f"adapter.{path}.{name}": t for path, u in self.updates.items() for name, t in u.state().items()}
        return present | self.schedule.tensors() | self._head.tensors()

    def facts(self) -> dict[str, Any]:
        return self.schedule.facts()

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """W goes back to what was loaded, then what the schedule remembers is done again, then the present is set."""
        self._head.restore(tensors)
        for update in self.updates.values():
            update.reset()
        self.schedule.restore(tensors, facts)
        for path, update in self.updates.items():
            update.load(under(tensors, f"adapter.{path}."))

    def outdates(self, facts: Mapping[str, Any]) -> bool:
        return self.schedule.outdates(facts)

    def history(self) -> list[dict[str, Any]]:
        """The schedule's changes, and last the ranks of all sites where the updates know theirs."""
        reports = {path: report for path, update in self.updates.items() if (report := update.report()) is not None}
        return self.schedule.history() + ([{"event": "ranks", "sites": reports}] if reports else [])

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
