"""Rules of thumb about rank, each held against records: yes, no, or not enough runs to say.

A rule about a difference holds where its 95 % t interval over common seeds lies on the rule's side, and fails where it
lies on the other. "No worse" means within the margin of the sweep. Where several rates were tried, the one of the best
mean validation score stands for the method.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.frame import Frame
from analysis.learned_ranks import ATTENTION, COUNTED, MLP, learned_ranks
from analysis.scale import scale_of
from analysis.shrunk import shrunk
from analysis.stats.intervals import Estimate, t_interval

YES, NO, OPEN = "yes", "no", "not enough runs"
RATE = (3.0, 30.0)  # "about ten times": within half a decade of ten


@dataclass(frozen=True)
class Judged:
    """One rule on one block. `estimate` is what was tested, in the words of `test`; None where nothing could be."""

    rule: str
    block: str
    verdict: str
    test: str
    estimate: Estimate | None = None


def judge(frame: Frame) -> list[Judged]:
    """Every rule on every block."""
    return [rule(frame, block) for block in frame.blocks for rule in RULES]


def mlp_wants_more(frame: Frame, block: str) -> Judged:
    """Learned counts of components: attention less MLP, a run's mean over its weights, averaged over strategies."""
    ranks = learned_ranks(frame)
    ranks = ranks[(ranks["block"] == block) & (ranks["measure"] == COUNTED)]
    side = np.where(ranks["target"].isin(MLP), "mlp", np.where(ranks["target"].isin(ATTENTION), "attention", "other"))
    means = ranks.assign(side=side).pivot_table(index=["label", "seed"], columns="side", values="rank")
    test = "learned rank of attention less MLP, mean over strategies: t interval over seeds below 0"
    if not {"mlp", "attention"} <= set(means.columns):
        return Judged("MLP wants more rank than attention", block, OPEN, test)
    difference = t_interval((means["attention"] - means["mlp"]).dropna().groupby("seed").mean().to_numpy(float))
    return Judged("MLP wants more rank than attention", block, _below(difference, 0.0), test, difference)


def small_ranks_serve(frame: Frame, block: str) -> Judged:
    """Every rank above 16 less the rank from 4 to 16 that validation prefers; the most of them is shown."""
    test = "each rank above 16 less the one of 4 to 16 that validation prefers: no more than the margin"
    rule, ranks = "simple tasks are served by ranks 4 to 16", _by_rank(frame, block)
    small = [rank for rank in ranks if 4 <= rank <= 16]
    large = [rank for rank in ranks if rank > 16]
    if not small or not large or frame.margin is None:
        return Judged(rule, block, OPEN, test)
    own = max(small, key=lambda rank: _validation(frame, block, ranks[rank]))
    gains = [_differences(frame, block, ranks[rank], ranks[own]) for rank in large]
    most = max(gains, key=np.mean)
    verdict = _all(gains, _step(frame, block), lambda gain: _below(gain, frame.margin))
    return Judged(rule, block, verdict, test, t_interval(most, step=_step(frame, block)))


def saturates(frame: Frame, block: str) -> Judged:
    """The largest rank less the one before it."""
    test, ranks = "the largest rank less the one before: no more than the margin", _by_rank(frame, block)
    if len(ranks) < 3 or frame.margin is None:
        return Judged("the score saturates in the rank", block, OPEN, test)
    before, last = sorted(ranks)[-2:]
    gain = t_interval(_differences(frame, block, ranks[last], ranks[before]), step=_step(frame, block))
    return Judged("the score saturates in the rank", block, _below(gain, frame.margin), test, gain)


def ten_times_the_rate(frame: Frame, block: str) -> Judged:
    """log10 of LoRA's best rate over full fine-tuning's, a value for each seed; rates by validation.

    Open where the mean of seeds is best at an end of a grid: the best rate may lie beyond it.
    """
    rule = "the best rate is about ten times full fine-tuning's"
    test = "log10 of LoRA's best rate over full fine-tuning's, by seed and validation: within 0.48 and 1.48"
    full, lora = (_by_rate(frame, block, name) for name in ("full", "lora"))
    if any(table.shape[1] < 3 or table.empty for table in (full, lora)):
        return Judged(rule, block, OPEN, test)
    logs = np.log10(lora.idxmax(axis=1) / full.idxmax(axis=1)).dropna().to_numpy(float)
    step = float(np.diff(np.log10(full.columns)).max())
    ratio, low, high = t_interval(logs, step=step), *np.log10(RATE)
    if any(table.mean().idxmax() in (table.columns[0], table.columns[-1]) for table in (full, lora)):
        return Judged(rule, block, OPEN, f"{test}; a best rate is at an end of its grid", ratio)
    inside = ratio.known and low <= ratio.low and ratio.high <= high
    outside = ratio.known and (ratio.high < low or ratio.low > high)
    return Judged(rule, block, YES if inside else NO if outside else OPEN, test, ratio)


def _by_rate(frame: Frame, block: str, name: str) -> pd.DataFrame:
    """Validation score of a method (the larger the better) by seed and rate, ascending, at its best other settings."""
    rows = frame.block(block)
    rows = rows[rows["done"] & (rows["method_name"] == name)]
    scores = rows.assign(score=rows["val_score"] * _sign(frame, block))
    return scores.pivot_table(index="seed", columns="lr", values="score", aggfunc="max").dropna()


def _droppable(how: str) -> Callable[[Frame, str], Judged]:
    def judged(frame: Frame, block: str) -> Judged:
        rule = f"95 % of an adapter's parameters can be dropped ({how})"
        test = "score of the whole adapter less that with 5 % kept, mean over draws: no more than the margin"
        table = shrunk(frame)
        table = table[(table["block"] == block) & (table["how"] == how) & np.isclose(table["kept"], 0.05)]
        if table.empty or frame.margin is None:
            return Judged(rule, block, OPEN, test)
        lost = t_interval(table.groupby("seed")["lost"].mean().to_numpy(float), step=_step(frame, block))
        return Judged(rule, block, _below(lost, frame.margin), test, lost)

    return judged


def q_and_v_beat_one(frame: Frame, block: str) -> Judged:
    """q and v less each single matrix that has as many parameters; the least of them is shown."""
    test = "q and v less each single matrix at the same parameters: above 0 for all"
    rule, rows = "q and v beat one matrix at the same budget", _direct(frame, block)
    both = rows[rows["targets"] == "q,v"]
    for budget, pair in both.groupby("adapter_params"):
        single = rows[(rows["adapter_params"] == budget) & ~rows["targets"].str.contains(",")]
        if len(single):
            gains = [_differences(frame, block, pair, runs) for _, runs in single.groupby("targets")]
            least = t_interval(min(gains, key=np.mean), step=_step(frame, block))
            return Judged(rule, block, _all(gains, _step(frame, block), lambda gain: _above(gain, 0.0)), test, least)
    return Judged(rule, block, OPEN, test)


def orthogonality(frame: Frame, block: str) -> Judged:
    """No method here has such a penalty, and no run merges adapters of two tasks."""
    test = "no method here has the penalty: needs merged adapters of two tasks, with and without it"
    return Judged("an orthogonality penalty lowers the interference of merged task adapters", block, OPEN, test)


RULES = (
    mlp_wants_more, small_ranks_serve, saturates, ten_times_the_rate, _droppable("random"), _droppable("magnitude"),
    q_and_v_beat_one, orthogonality,
)  # fmt: skip


def _direct(frame: Frame, block: str) -> pd.DataFrame:
    """Finished runs of LoRA itself: relatives of the same rank, as with a frozen factor, are other methods."""
    rows = frame.block(block)
    return rows[rows["done"] & (rows["procedure"] == "direct") & (rows["method_name"] == "lora")]


def _by_rank(frame: Frame, block: str) -> dict[float, pd.DataFrame]:
    """Finished runs of LoRA by rank, of the combination of targets that has the most ranks."""
    rows = _direct(frame, block)
    if rows.empty:
        return {}
    targets = rows.groupby("targets")["start_rank"].nunique().idxmax()
    return {float(str(rank)): runs for rank, runs in rows[rows["targets"] == targets].groupby("start_rank")}


def _chosen(frame: Frame, block: str, runs: pd.DataFrame) -> pd.DataFrame:
    """Those of the rate, and of the other settings, that validation prefers: one run of each seed."""
    means = _sign(frame, block) * runs.groupby(["label", "lr"])["val_score"].mean()
    label, rate = means.idxmax()  # type: ignore[misc]
    return runs[(runs["label"] == label) & (runs["lr"] == rate)]


def _validation(frame: Frame, block: str, runs: pd.DataFrame) -> float:
    """The larger the better."""
    return float(_chosen(frame, block, runs)["val_score"].mean()) * _sign(frame, block)


def _differences(frame: Frame, block: str, a: pd.DataFrame, b: pd.DataFrame) -> np.ndarray:
    """Score of `a` less that of `b` for each common seed, higher is better, in points."""
    ours, theirs = (_chosen(frame, block, runs).set_index("seed")["shown"] for runs in (a, b))
    return (_sign(frame, block) * (ours - theirs)).dropna().to_numpy(float)


def _sign(frame: Frame, block: str) -> int:
    return 1 if frame.better(block) == "max" else -1


def _step(frame: Frame, block: str) -> float:
    return scale_of(frame.block(block), "shown").step


def _below(estimate: Estimate, limit: float) -> str:
    """Whether a mean is at most `limit`."""
    return OPEN if not estimate.known else YES if estimate.high <= limit else NO if estimate.low > limit else OPEN


def _above(estimate: Estimate, limit: float) -> str:
    return OPEN if not estimate.known else YES if estimate.low >= limit else NO if estimate.high < limit else OPEN


def _all(gains: list[np.ndarray], step: float, judge: Callable[[Estimate], str]) -> str:
    """yes where all are, which needs no correction for many (an intersection-union test); no where one is at a level of
    5 % over their number (Bonferroni)."""
    if all(judge(t_interval(gain, step=step)) == YES for gain in gains):
        return YES
    strict = 1 - 0.05 / len(gains)
    return NO if any(judge(t_interval(gain, strict, step)) == NO for gain in gains) else OPEN
