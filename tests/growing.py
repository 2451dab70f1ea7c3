"""A package of somebody else's, written to a folder: an update, a schedule, their entry points and their yamls."""

import re
from pathlib import Path

CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"
HALVED = '''
from dataclasses import dataclass
from typing import Literal

import torch

from methods.method import NO_CHANGE, Change
from methods.schedule.constant import ConstantSchedule
from methods.spec import ScheduleSpec


@dataclass(frozen=True)
class Halved(ScheduleSpec):
    """The rank is halved once, by the best approximation of the update; the new factors start without moments."""

    kind: Literal["halved"]
    at: int

    def why_not(self, training):
        return None if self.at < training.total else f"the rank is halved at step {self.at} of {training.total}."

    def make(self):
        return HalvedSchedule(self.at)


class HalvedSchedule(ConstantSchedule):
    def __init__(self, at):
        self.at, self.changes = at, []

    def after_step(self, progress):
        if progress.step != self.at:
            return NO_CHANGE
        replaced = tuple(r for update in self.updates.values() for r in halve(update))
        self.changes.append({"step": self.at, "rank": replaced[0].new.shape[1]})
        return Change(replaced=replaced, event={"event": "rank"} | self.changes[-1])

    def facts(self):
        return {"changes": self.history()}

    def restore(self, tensors, facts):
        self.changes = list(facts["changes"])

    def history(self):
        return [dict(change) for change in self.changes]


@torch.no_grad()
def halve(update):
    """U·sqrt(S) and sqrt(S)·V of the larger half of the singular values; other trained parts start at one."""
    b, a = update.pair()
    rank = a.shape[0] // 2
    u, s, v = torch.linalg.svd(b @ a, full_matrices=False)
    root = s[:rank].sqrt()
    values = {"b": u[:, :rank] * root, "a": root[:, None] * v[:rank]}
    values |= {name: torch.ones(rank) for name, _ in update.named_parameters() if name not in values}
    return [update.replace(name, value) for name, value in values.items()]
'''
YAML = """
name: {name}
targets: [q, v]
update: {update}
schedule: {schedule}
rates: {{group: adapter, b_over_a: 1.0}}
about: {{label: {name}, source: a test, formula: "W = W0 + s·B·diag(g)·A"}}
"""
GATED = "{kind: gated_low_rank, rank: 8, alpha: 16.0}"
METHODS = {
    "gated": (GATED, "{kind: constant}"),
    "gated_chain": (GATED, "{kind: chain, links: 2, every_epochs: null, every_steps: null}"),
    "gated_halved": (GATED, "{kind: halved, at: 6}"),
}


def shown_source(name: str) -> str:
    """A Python file that CONTRIBUTING.md shows."""
    shown = rf"```python\n(# {re.escape(name)};.*?)```"
    (source,) = re.findall(shown, CONTRIBUTING.read_text(encoding="utf-8"), re.DOTALL)
    return source


def install(folder: Path) -> None:
    """`folder` goes on the path, `folder`/conf into PEFTLAB_CONF; nothing of the project is touched."""
    (folder / "gated.py").write_text(shown_source("gated.py"), encoding="utf-8")
    (folder / "halved.py").write_text(HALVED, encoding="utf-8")
    facts = folder / "others-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    points = "gated_low_rank = gated:GatedLowRank\nhalved = halved:Halved\nbroken = no_such_module:Broken\n"
    points += "../no/name = gated:GatedLowRank\nTwo Words = gated:GatedLowRank\n"
    (facts / "entry_points.txt").write_text(f"[peftlab.methods]\n{points}mistaken = halved:halve\n")
    (folder / "conf" / "method").mkdir(parents=True)
    for name, (update, schedule) in METHODS.items():
        text = YAML.format(name=name, update=update, schedule=schedule)
        (folder / "conf" / "method" / f"{name}.yaml").write_text(text, encoding="utf-8")
