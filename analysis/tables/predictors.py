"""Which number puts methods in the order of the measured gap: bounds, and what was measured of the weights."""

import pandas as pd
from scipy import stats

from analysis.diagnoses import diagnoses
from analysis.frame import Frame
from analysis.stats.intervals import Estimate, t_interval
from analysis.table import Cell, Head, Table
from analysis.tables.cells import footer

PREDICTORS = {  # kind -> number of its answer -> what it is
    "bounds": {
        "parameters": "trained parameters of the adapter",
        "count_bound": "bound by the number of trained bits",
        "layerwise_log_phi_delta": "Theorem 1, log Φ of ΔW (layer by layer)",
        "printed_log_phi_delta": "Theorem 1, log Φ of ΔW (as printed)",
        "layerwise_log_phi_pretrained": "Theorem 1, log Φ of W₀ (layer by layer)",
        "update_norm": "‖ΔW‖, Frobenius",
    },
    "curvature": {"largest_eigenvalue": "λ_max of the Hessian", "trace": "trace of the Hessian"},
    "landscape": {"ring_rise": "mean rise on a ring", "ring_rise_max": "largest rise on a ring"},
    "intruders": {"intruders_first": "intruders among the first 10", "intruders_all": "intruders among all"},
    "geometry": {"stable_rank": "stable rank of ΔW", "relative_norm": "‖ΔW‖ / ‖W₀‖"},
}
_NOTE = (
    "Kendall's τ between the number and G(W) over the methods of a block (means over seeds): 1, the same order; 0, "
    "unrelated; −1, reversed. Mean over blocks with its 95 % t interval over blocks (three or more). What explains "
    "G(W) has an interval above zero; of this many numbers, one in twenty or so is off zero by chance, and intervals "
    "are not adjusted for it. Fewer than three methods give no τ."
)


def predictor_table(frame: Frame) -> Table | None:
    """Which number orders methods as G(W) does, best first; None where no block has three methods with both."""
    known = sorted(_known(frame), key=lambda entry: -entry[2].mean)
    if not known:
        return None
    rows = tuple(
        (Cell(label), Cell(_text(tau), tau.mean), Cell(str(tau.n), tau.n), Cell(_each(taus)))
        for label, taus, tau in known
    )
    heads = (Head("number"), Head("Kendall's τ with G(W)", "", "max"), Head("blocks"), Head("τ in each block"))
    data = pd.DataFrame(
        [(label, tau.mean, tau.low, tau.high, tau.n) for label, _, tau in known],
        columns=["number", "tau", "low", "high", "blocks"],
    )
    return Table("predictors", "Which number predicts G(W)", heads, rows, (_NOTE, footer(frame)), data)


def _known(frame: Frame) -> list[tuple[str, dict[str, float], Estimate]]:
    """(what it is, τ by block, their mean) of each number that some block has."""
    gaps = diagnoses(frame, "generalization")
    entries = []
    for kind, numbers in PREDICTORS.items():
        measured = diagnoses(frame, kind)
        if gaps.empty or measured.empty:
            continue
        joined = gaps[["id", "g"]].merge(measured, on="id")
        taus = {label: _taus(joined, name) for name, label in numbers.items() if name in joined}
        entries += [(label, of, t_interval(list(of.values())).within(-1, 1)) for label, of in taus.items() if of]
    return entries


def _taus(joined: pd.DataFrame, name: str) -> dict[str, float]:
    """Block -> Kendall's tau-b over its methods; without blocks in which either is equal for all."""
    taus = {}
    for block, rows in joined.groupby("block", sort=False):
        means = rows.groupby("label")[["g", name]].mean().dropna()
        if len(means) >= 3 and means[name].nunique() > 1 and means["g"].nunique() > 1:
            taus[str(block)] = float(stats.kendalltau(means["g"], means[name]).statistic)
    return taus


def _text(tau: Estimate) -> str:
    return f"{tau.mean:.2f} [{tau.low:.2f}, {tau.high:.2f}]" if tau.known else f"{tau.mean:.2f}"


def _each(taus: dict[str, float]) -> str:
    return "; ".join(f"{block} {tau:.2f}" for block, tau in taus.items())
