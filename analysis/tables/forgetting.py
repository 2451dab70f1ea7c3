"""What runs forgot of the data that their models knew, and score against it."""

import numpy as np
import pandas as pd

from analysis.diagnoses import diagnoses, side_records
from analysis.frame import Frame
from analysis.metric import number
from analysis.pareto import front, inclusion, lattices, resamples
from analysis.stats.intervals import Estimate, seed_range
from analysis.table import Cell, Head, Table
from analysis.tables.cells import SEED, footer, range_text

_NOTE = (
    "Before: the pretrained weights; after: the run's at its selected checkpoint, mean over seeds [lowest, highest "
    "seed], without the head that the run trained for its own task. Digits: the pretraining task with the "
    "pretraining's classifier. Captions: loss of a token; accuracy is the share of captions without a mistake. "
    "English: loss is 1 − cosine of a text's embeddings before and after; accuracy is the share of texts whose nearest "
    "other text is the same as before."
)
_FRONT_NOTE = (
    "Probability that the method is on the front of score and retention (accuracy after) when seeds are drawn again, "
    "jointly for all methods. Equal scores in a sample count half. *: on the front of the means. Of few seeds it is "
    "coarse, and no interval."
)


def forgetting_table(frame: Frame) -> Table | None:
    """Accuracy and loss before and after, and the difference, of each method; None without side records."""
    data = diagnoses(frame, "forgetting")
    if data.empty:
        return None
    sets = {run["id"]: str(side.answer["set"]) for run, side in side_records(frame, "forgetting")}
    rows, values = [], []
    for (block, label), runs in data.groupby(["block", "label"], sort=False):
        name = sets[runs["id"].iloc[0]]
        cells, numbers = [], []
        for kind, factor, text in (("accuracy", 100, _percent), ("loss", 1, _loss)):
            before, after = (runs[f"{kind}_{when}"] * factor for when in ("before", "after"))
            change = seed_range((after - before).to_numpy())
            numbers += [before.mean(), after.mean(), change.mean, change.low, change.high]
            cells += [Cell(text(value), value) for value in numbers[-5:-3]]
            cells.append(Cell(f"{text(change.mean)}{range_text(change, text)} ({change.n})", change.mean))
        rows.append((Cell(str(block)), Cell(str(label)), Cell(name), *cells))
        values.append((block, label, name, len(runs), *numbers))
    names = [
        f"{kind}_{what}" for kind in ("accuracy", "loss") for what in ("before", "after", "change", "lowest", "highest")
    ]
    heads = (
        Head("model / dataset"),
        Head("method"),
        Head("known data"),
        Head("accuracy before", "%"),
        Head("after", "%", "max"),
        Head("change", "points", "max"),
        Head("loss before"),
        Head("after", "", "min"),
        Head("change", "", "min"),
    )
    table = pd.DataFrame(values, columns=["block", "method", "set", "n", *names])
    return Table("forgetting", "What was forgotten", heads, tuple(rows), (_NOTE, footer(frame)), table)


def retention_front(frame: Frame) -> Table | None:
    """Score, accuracy retained, and the inclusion probability on their front; None where no block has two methods."""
    data = retention(frame)
    rows = [
        (
            Cell(row.block),
            Cell(row.method),
            Cell(number(row.score, frame.shown(row.block).digits), row.score),
            Cell(_percent(row.retained), row.retained),
            Cell(f"{100 * row.inclusion:.0f}{' *' if row.on_front else ''}", row.inclusion),
        )
        for row in data.dropna(subset=["inclusion"]).itertuples()
    ]
    if not rows:
        return None
    heads = (
        Head("model / dataset"),
        Head("method"),
        Head("score"),
        Head("retained", "%", "max"),
        Head("on the front", "%"),
    )
    title = "Score and retention: the front"
    return Table("retention-front", title, heads, tuple(rows), (_FRONT_NOTE, footer(frame)), data)


def retention(frame: Frame) -> pd.DataFrame:
    """Block, method, score and accuracy retained in % (mean, lowest, highest over seeds), n, inclusion (NaN where no
    two methods have every common seed), on_front."""
    known = diagnoses(frame, "forgetting")
    parts = [_of_block(frame, block, known[known["block"] == block]) for block in frame.blocks if not known.empty]
    return pd.DataFrame([row for part in parts for row in part], columns=_COLUMNS)


_COLUMNS = [
    *("block", "method", "score", "score_lowest", "score_highest", "retained", "retained_lowest", "retained_highest"),
    *("n", "inclusion", "on_front"),
]


def _of_block(frame: Frame, block: str, known: pd.DataFrame) -> list[tuple]:
    """Only methods with a score and a side record of every seed enter the front."""
    scores = frame.values(block, "shown")
    kept = known.pivot_table(index="seed", columns="label", values="accuracy_after")
    kept = kept.reindex(index=scores.index, columns=scores.columns) * 100
    sign = 1 if frame.better(block) == "max" else -1
    x = np.stack([sign * scores.to_numpy(float), kept.to_numpy(float)], axis=-1)
    whole = np.isfinite(x).all(axis=(0, 2)) & (len(x) > 0)
    chance, on_front = np.full(len(whole), np.nan), np.zeros(len(whole), bool)
    if whole.sum() >= 2:
        counts, chances = resamples(len(x), np.random.default_rng(SEED), 10_000)
        chance[whole] = inclusion(x[:, whole], counts, chances)
        on_front[whole] = front(lattices(x[:, whole]).sum(axis=0))
    rows = []
    for place, method in enumerate(scores.columns):
        pair = x[:, place][np.isfinite(x[:, place]).all(axis=1)]
        if len(pair):
            score, retained = seed_range(sign * pair[:, 0]), seed_range(pair[:, 1])
            ends = (*_ends(score), *_ends(retained))
            rows.append((block, method, *ends, len(pair), chance[place], bool(on_front[place])))
    return rows


def _ends(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.mean, estimate.low, estimate.high


def _percent(value: float) -> str:
    return number(value, 1)


def _loss(value: float) -> str:
    return number(value, 3)
