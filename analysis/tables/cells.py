"""What every table's cells share: a mean with its interval and n, a reason where there is no number, marks that are
supported.
"""

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.columns import column as declared
from analysis.frame import Frame
from analysis.metric import number
from analysis.scale import scale_of
from analysis.stats.intervals import Estimate, range_level, seed_range
from analysis.stats.paired import pairwise_t
from analysis.table import Cell, Mark

SEED = 20260613  # of bootstraps whose caller gives no generator: the same records give the same numbers
MARKS: tuple[Mark, ...] = ("best", "second", "third")


def method_cell(label: str) -> Cell:
    """The first cell of a row."""
    return Cell(label)


def measured(rows: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """The values of `column` that finished runs of `rows` measured."""
    values = rows[column].to_numpy(float)[rows["done"].to_numpy()]
    return values[~np.isnan(values)]


def estimate_of(rows: pd.DataFrame, column: str) -> Estimate:
    """Mean and range of the finished runs of `rows` that measured `column`."""
    return seed_range(measured(rows, column))


def range_text(estimate: Estimate, text: Callable[[float], str]) -> str:
    """` [89.90, 90.40]`, the lowest and the highest; empty where there is no range."""
    return f" [{text(estimate.low)}, {text(estimate.high)}]" if estimate.known else ""


def score_text(score: Estimate, digits: int, planned: int) -> str:
    """`90.12 [89.90, 90.40] (5)`; `(4/5)` where a planned run has no score; no range below three runs."""
    n = f"({score.n})" if score.n == planned else f"({score.n}/{planned})"
    return f"{number(score.mean, digits)}{range_text(score, lambda v: number(v, digits))} {n}"


def score_cell(rows: pd.DataFrame, column: str, digits: int, mark: Mark = "") -> Cell:
    """The cell of one method in one block: mean, range over seeds, n, and what became of the other seeds."""
    score = estimate_of(rows, column)
    if score.n == 0:
        return absent_cell(rows, column)
    planned = int((rows["status"] != "skipped").sum())
    return Cell(score_text(score, digits, planned), score.mean, mark, lost(rows, column) if score.n < planned else "")


def mean_cell(rows: pd.DataFrame, column: str, digits: int, factor: float = 1.0) -> Cell:
    """The mean of a cost over finished runs, or the reason why there is none. A time has its range as a score has, and
    its n where not every finished run measured it.
    """
    cost = estimate_of(rows, column)
    if cost.n == 0:
        return absent_cell(rows, column)
    mean = cost.mean * factor
    digits += digits > 0 and mean < 1  # a tenth of a second is no difference between 0.1 and 0.1
    timed = declared(column).unit in ("s", "ms") and cost.high > 0  # where no step is trained, no time varies
    width = range_text(cost, lambda v: f"{v * factor:,.{digits}f}") if timed else ""
    n = f" ({cost.n})" if timed and cost.n < rows["done"].sum() else ""
    return Cell(f"{mean:,.{digits}f}{width}{n}", mean)


def absent_cell(rows: pd.DataFrame, column: str) -> Cell:
    """No number: the status in one word, the sentence beside it."""
    kinds = [s for s in ("failed", "damaged", "missing", "skipped") if s in set(rows["status"])]
    done = rows[rows["status"] == "done"]
    if len(done):
        return Cell(
            "not measured", mark="absent", why=f"not measured: {_why_absent(str(done.iloc[0]['absent']), column)}"
        )
    return Cell(kinds[0] if kinds else "–", mark="bad" if kinds[:1] == ["failed"] else "absent", why=lost(rows, column))


def lost(rows: pd.DataFrame, column: str) -> str:
    """One sentence on the runs of a cell that gave no value: `2 of 5 runs: failed: oom in train at step 3: …`."""
    out = rows[(rows["status"] != "done") | rows[column].isna()]
    if set(out["status"]) == {"skipped"}:
        return str(out.iloc[0]["reason"])
    reasons = list(dict.fromkeys(r or "not measured" for r in out["reason"]))
    more = f"; and {len(reasons) - 2} other reasons" if len(reasons) > 2 else ""
    return f"{len(out)} of {len(rows)} runs: {'; '.join(reasons[:2])}{more}"


def _why_absent(absent: str, column: str) -> str:
    reasons = json.loads(absent or "{}")
    parts = {
        "peak_bytes": "train_rss_bytes",
        "step_bytes": "saved_bytes",
        "gap_abs": "train_loss",
        "gap": "train_loss",
        "shown": "score",
    }
    return str(reasons.get(column) or reasons.get(parts.get(column, ""), "no reason in the record"))


def told_apart(frame: Frame, block: str, column: str) -> pd.DataFrame:
    """(methods, methods) Holm-adjusted p of every paired t test over common seeds, of the methods that have a value;
    NaN where fewer than three seeds are common.
    """
    values = frame.values(block, column).dropna(axis=1, how="all")
    p = pairwise_t(values.to_numpy(), scale_of(frame.block(block), column).step)
    return pd.DataFrame(p, index=values.columns, columns=values.columns)


def supported_marks(frame: Frame, block: str, column: str, better: str) -> dict[str, Mark]:
    """Label -> mark.

    A place is marked only where the method is complete and beats every lower one (paired t, Holm over all pairs). A
    method that lost seeds takes no place, but must be beaten all the same: who survived says nothing about who did not.
    """
    key = f"marks/{block}/{column}/{better}"
    if key not in frame.kept:
        frame.kept[key] = _supported_marks(frame, block, column, better)
    return frame.kept[key]


def _supported_marks(frame: Frame, block: str, column: str, better: str) -> dict[str, Mark]:
    values = frame.values(block, column)
    p = told_apart(frame, block, column)
    whole = {m for m in p.index if values[m].notna().sum() == len(frame.cell(block, str(m)))}
    order = sorted(p.index, key=lambda m: float(values[m].mean()) * (1 if better == "min" else -1))
    marks: dict[str, Mark] = {}
    for mark, m in zip(MARKS, order[:-1], strict=False):
        lower = order[order.index(m) + 1 :]
        if m not in whole or not (p.loc[m, lower] < 0.05).all():
            break
        marks[str(m)] = mark
    return marks


_LEVELS = ", ".join(f"{100 * range_level(n):.1f} % with {word}" for n, word in ((3, "three"), (5, "five"), (10, "ten")))
RANGE_NOTE = (
    "Mean [lowest, highest seed] (n, the runs behind it); below three runs there is no range. It holds the median of "
    f"seeds like these, on this test set, in at least {_LEVELS} seeds, however they are distributed. It is no interval "
    "of the mean: seeds that collapse now and then may be in none of a few. Times have the n of their row where none "
    "is given."
)
MARK_NOTE = (
    "Best bold, second underlined, third italic: only a method that lost no run, and only where a paired t test over "
    "seeds (Holm over all pairs of the block, p < .05) supports it."
)


def far_off(frame: Frame, block: str) -> dict[str, int]:
    """Method -> its seed that is far off its others (`far_seeds`)."""
    values, step = frame.values(block, "shown"), scale_of(frame.block(block), "shown").step
    far = far_seeds(values.to_numpy(float), step)
    return {
        str(m): int((values[m] - values[m].median()).abs().idxmax()) for m, odd in zip(values, far, strict=True) if odd
    }


def far_seeds(scores: NDArray[np.float64], step: float) -> NDArray[np.bool_]:
    """Which methods of scores (seeds, methods) have a seed far off their others: further than five times the median
    distance of seeds from their method's median, over all methods, and five steps of the score. NaN: no score.
    """
    measured_seeds = ~np.isnan(scores)
    distance = np.full(scores.shape, np.nan)
    some = measured_seeds.any(axis=0)
    distance[:, some] = np.abs(scores[:, some] - np.nanmedian(scores[:, some], axis=0))
    usual = float(np.median(distance[distance > 0])) if (distance > 0).any() else 0.0
    limit = 5 * max(1.4826 * usual, step)
    return (measured_seeds.sum(axis=0) >= 3) & (np.nan_to_num(distance).max(axis=0, initial=0.0) > limit) & (limit > 0)


def far_off_notes(frame: Frame, block: str) -> tuple[str, ...]:
    """A sentence for each method with a seed far off its others."""
    return tuple(
        f"Seed {seed} of {m} is far off its others: its mean is no typical score, and differences to it have no "
        "interval."
        for m, seed in far_off(frame, block).items()
    )


def footer(frame: Frame, blocks: tuple[str, ...] | None = None) -> str:
    """Plan digest, n, commit and environment, from the records themselves."""
    rows = frame.rows[frame.rows["block"].isin(blocks or frame.blocks)]
    done = rows[rows["status"] == "done"]
    planned = rows[rows["status"] != "skipped"]
    parts = [
        f"plan {frame.digest}",
        f"{len(done)} of {len(planned)} runs done",
        f"seeds {_few(sorted(set(planned['seed'])))}",
    ]
    for word, name in (("commit", "commit"), ("environment", "fingerprint"), ("device", "device")):
        parts.append(f"{word} {_few(sorted({str(v) for v in done[name] if v} or {'unknown'}))}")
    return " · ".join(parts)


def _few(values: list[object]) -> str:
    return ", ".join(map(str, values[:8])) + (f" and {len(values) - 8} more" if len(values) > 8 else "")


def slug(text: str) -> str:
    """A file name from a label: `vit_micro / digits` -> `vit_micro-digits`."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "_.") else "-" for c in text.lower())
    return "-".join(part for part in kept.split("-") if part) or "table"


def finite(value: float) -> float | None:
    """None for NaN, so that no NaN reaches JSON or a sort key."""
    return float(value) if np.isfinite(value) else None
