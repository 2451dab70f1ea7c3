"""Why a method generalises: the measured gap beside the published one, and which number predicts it."""

import numpy as np
import pandas as pd
from scipy import stats

from analysis.diagnoses import diagnoses, side_records
from analysis.frame import Frame
from analysis.metric import scientific
from analysis.stats.gap import gap_interval
from analysis.stats.intervals import Estimate, t_interval
from analysis.table import Cell, Head, Table
from analysis.tables.cells import footer
from analysis.tables.published import published_in

PREDICTORS = {
    "parameters": "trained parameters of the adapter",
    "count_bound": "bound by the number of trained bits",
    "layerwise_log_phi_delta": "Theorem 1, log Φ of ΔW (layer by layer)",
    "printed_log_phi_delta": "Theorem 1, log Φ of ΔW (as printed)",
    "layerwise_log_phi_pretrained": "Theorem 1, log Φ of W₀ (layer by layer)",
    "update_norm": "‖ΔW‖, Frobenius",
}
_GAP_NOTE = (
    "G(W) = |test loss − train loss| at the selected checkpoint, both measured anew in eval mode on the same examples "
    "for all seeds: mean over seeds. Signed gap: 95 % interval over seeds and examples. Published: Beyond LoRA, Table "
    "3, single values without spread; – where it has none."
)
_TAU_NOTE = (
    "Kendall's τ between the number and G(W) over the methods of a block (means over seeds): 1, the same order; 0, "
    "unrelated; −1, reversed. Mean over blocks with its 95 % t interval over blocks (three or more). A bound that "
    "explains G(W) has an interval above zero. Fewer than three methods give no τ."
)


def gap_table(frame: Frame) -> Table | None:
    """G(W) of each method with the interval of the signed gap and the published value; None without side records."""
    pairs = side_records(frame, "generalization")
    if not pairs:
        return None
    rows, data = [], []
    for block, label in dict.fromkeys((run["block"], run["label"]) for run, _ in pairs):
        of_cell = [(run, side.answer) for run, side in pairs if (run["block"], run["label"]) == (block, label)]
        size, gap = float(np.mean([answer["g"] for _, answer in of_cell])), _interval([answer for _, answer in of_cell])
        theirs = published_in("table3", of_cell[0][0])
        span = f"{scientific(gap.mean)} [{scientific(gap.low)}, {scientific(gap.high)}]"
        printed = Cell("–", mark="absent") if theirs is None else Cell(scientific(theirs), theirs)
        rows.append(
            (Cell(block), Cell(label), Cell(f"{scientific(size)} ({gap.n})", size), Cell(span, gap.mean), printed)
        )
        data.append((block, label, size, gap.mean, gap.low, gap.high, gap.n, theirs))
    heads = (Head("model / dataset"), Head("method"), Head("G(W)", "nats", "min"), Head("signed gap", "nats"))
    names = ["block", "method", "g", "gap", "low", "high", "n", "published"]
    return Table(
        "generalization",
        "G(W), measured on fixed examples",
        (*heads, Head("published G(W)", "nats", "min")),
        tuple(rows),
        (_GAP_NOTE, footer(frame)),
        pd.DataFrame(data, columns=names),
    )


def predictor_table(frame: Frame) -> Table | None:
    """Which number orders methods as G(W) does, best first; None where no block has three methods with both."""
    gaps, bounds = diagnoses(frame, "generalization"), diagnoses(frame, "bounds")
    if gaps.empty or bounds.empty:
        return None
    joined = gaps[["id", "g"]].merge(bounds, on="id")
    estimates = {name: (_taus(joined, name), label) for name, label in PREDICTORS.items() if name in joined}
    known = [(label, taus, _mean(list(taus.values()))) for taus, label in estimates.values() if taus]
    if not known:
        return None
    known.sort(key=lambda entry: -entry[2].mean)
    rows = tuple(
        (Cell(label), Cell(_text(tau), tau.mean), Cell(str(tau.n), tau.n), Cell(_each(taus)))
        for label, taus, tau in known
    )
    heads = (Head("number"), Head("Kendall's τ with G(W)", "", "max"), Head("blocks"), Head("τ in each block"))
    data = pd.DataFrame(
        [(label, tau.mean, tau.low, tau.high, tau.n) for label, _, tau in known],
        columns=["number", "tau", "low", "high", "blocks"],
    )
    return Table("predictors", "Which number predicts G(W)", heads, rows, (_TAU_NOTE, footer(frame)), data)


def _interval(answers: list) -> Estimate:
    """Over the seeds that were measured on the same examples as the first."""
    same = [a for a in answers if all(a[s]["examples"] == answers[0][s]["examples"] for s in ("train", "test"))]
    test, train = (
        ([answer[split]["losses"] for answer in same], answers[0][split]["weights"]) for split in ("test", "train")
    )
    return gap_interval(test, train, np.random.default_rng(0))


def _taus(joined: pd.DataFrame, name: str) -> dict[str, float]:
    """Block -> Kendall's tau-b over its methods; without blocks in which either is equal for all."""
    taus = {}
    for block, rows in joined.groupby("block", sort=False):
        means = rows.groupby("label")[["g", name]].mean().dropna()
        if len(means) >= 3 and means[name].nunique() > 1 and means["g"].nunique() > 1:
            taus[str(block)] = float(stats.kendalltau(means["g"], means[name]).statistic)
    return taus


def _mean(taus: list[float]) -> Estimate:
    return t_interval(taus).within(-1, 1)


def _text(tau: Estimate) -> str:
    return f"{tau.mean:.2f} [{tau.low:.2f}, {tau.high:.2f}]" if tau.known else f"{tau.mean:.2f}"


def _each(taus: dict[str, float]) -> str:
    return "; ".join(f"{block} {tau:.2f}" for block, tau in taus.items())
