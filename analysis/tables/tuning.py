"""What tuning buys: the best validation score to be expected of k settings tried, and what k settings cost.

A method with one well-chosen setting and a method that needs twenty of them are not equally good.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.frame import Frame
from analysis.metric import number
from analysis.stats.power import expected_best
from analysis.table import Cell, Head, Table
from analysis.tables.cells import finite, footer


@dataclass(frozen=True)
class Tuned:
    """One method in one block. `settings` and `scores` (n_settings,): validation score over all seeds, as shown, NaN
    where a seed failed; `seconds`: mean training time of one setting, all its seeds.
    """

    block: str
    method: str
    settings: tuple[str, ...]
    scores: NDArray[np.float64]
    seconds: float
    better: str

    @property
    def best(self) -> int:
        """The place of the setting that validation prefers."""
        return int(np.nanargmax(self.scores if self.better == "max" else -self.scores))

    @property
    def prefers(self) -> bool:
        """False where all settings score alike."""
        return bool(np.nanmin(self.scores) < np.nanmax(self.scores))

    def expected(self, k: int) -> float:
        """Expected best validation score of k settings drawn without replacement. A setting that failed counts as the
        worst that did not: it costs, and wins nothing.
        """
        sign = 1 if self.better == "max" else -1
        scores = sign * self.scores
        return sign * expected_best(np.where(np.isnan(scores), np.nanmin(scores), scores), k)


def tuned(frame: Frame) -> Iterator[Tuned]:
    """Every method that was tried with two settings of its recipe or more (learning rates, say) in a block."""
    own = frame.rows["setting"].map(of_method)
    rows = frame.rows.assign(own=own)[own != frame.rows["setting"]]
    for (block, _, _), tried in rows.groupby(["block", "method_name", "own"], sort=False):
        cells = [frame.cell(str(block), label) for label in dict.fromkeys(tried["label"])]
        factor = frame.shown(str(block)).factor
        scores = np.array([factor * c["val_score"].mean() if c["done"].all() else np.nan for c in cells])
        if len(cells) > 1 and np.isfinite(scores).any():
            seconds = float(np.nanmean([c["train_s"].sum(min_count=1) for c in cells]))
            settings = tuple(c.iloc[0]["setting"] for c in cells)
            yield Tuned(str(block), _plain_label(cells[0]), settings, scores, seconds, frame.better(str(block)))


def tuning_table(frame: Frame) -> Table | None:
    """Block × method: the setting that validation prefers, what a setting costs, and the expected best of k. None
    where no method was tried with several settings.
    """
    curves = tuple(tuned(frame))
    if not curves:
        return None
    budgets = _budgets(max(len(t.settings) for t in curves))
    heads = (
        Head("model / dataset"),
        Head("method"),
        Head("validation prefers"),
        Head("cost of a setting", "s", "min"),
        *(Head(f"best of {k}", "validation") for k in budgets),
    )
    notes = (
        "Expected best validation score of k settings drawn at random from those tried (Dodge et al. 2019, without "
        "replacement), each scored over all its seeds; its cost is their training time. A setting in which a seed "
        "failed counts as the worst that did not. Test scores are not looked at.",
        *_edges(curves),
        footer(frame),
    )
    rows = tuple(_row(frame, t, budgets) for t in curves)
    return Table("tuning", "What tuning buys", heads, rows, notes, tuning_data(curves))


def tuning_data(curves: tuple[Tuned, ...]) -> pd.DataFrame:
    """block, method, k, seconds (training, k settings), expected_best."""
    rows = [(t.block, t.method, k, k * t.seconds, t.expected(k)) for t in curves for k in range(1, len(t.settings) + 1)]
    return pd.DataFrame(rows, columns=["block", "method", "k", "seconds", "expected_best"])


def of_method(setting: str) -> str:
    """The part of a setting that is the method's own: without what is of the recipe."""
    return ", ".join(part for part in setting.split(", ") if not part.startswith("recipe."))


def _plain_label(cell: pd.DataFrame) -> str:
    """The method's label without the settings of the recipe that tell its rows apart."""
    setting = str(cell.iloc[0]["setting"])
    own = of_method(setting)
    return str(cell.iloc[0]["label"]).replace(f" ({setting})", f" ({own})" if own else "")


def _budgets(most: int) -> tuple[int, ...]:
    """1, 2, 4, 8, … and all."""
    return tuple(sorted({1, most, *(2**i for i in range(1, 12) if 2**i < most)}))


def _row(frame: Frame, t: Tuned, budgets: tuple[int, ...]) -> tuple[Cell, ...]:
    digits = frame.shown(t.block).digits
    best = [
        Cell(number(t.expected(k), digits), finite(t.expected(k))) if k <= len(t.settings) else Cell("–", mark="absent")
        for k in budgets
    ]
    cost = Cell(f"{t.seconds:,.1f}", t.seconds) if np.isfinite(t.seconds) else Cell("–", mark="absent")
    failed = int(np.isnan(t.scores).sum())
    why = f"{failed} of {len(t.settings)} settings lost a seed" if failed else ""
    chosen = Cell(t.settings[t.best], why=why) if t.prefers else Cell("all alike", mark="absent", why=why)
    return Cell(t.block), Cell(t.method), chosen, cost, *best


def _edges(curves: tuple[Tuned, ...]) -> tuple[str, ...]:
    """A best value at the end of its grid: a wider grid may hold a better one (measuring.md, A3)."""
    ends = [f"{t.method} ({t.block})" for t in curves if _at_the_edge(t)]
    return (f"The best value is at the edge of the grid, which may be too narrow: {', '.join(ends)}.",) if ends else ()


def _at_the_edge(t: Tuned) -> bool:
    if not t.prefers:
        return False
    try:
        values = [float(setting.partition("=")[2]) for setting in t.settings]
    except ValueError:  # several keys, or no numbers: such a grid has no edge
        return False
    return values[t.best] in (min(values), max(values))
