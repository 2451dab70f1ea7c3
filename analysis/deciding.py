"""What an advice rests on, and the one sweep that would decide between methods that the runs do not tell apart."""

import numpy as np
import pandas as pd

from analysis.advise import Option
from analysis.frame import Frame
from analysis.scale import scale_of
from analysis.stats.intervals import spread
from analysis.stats.power import detectable
from analysis.support import sweep_command
from analysis.tables.cells import told_apart
from analysis.verdict import alike, named, worse_than
from harness.ledger.units import format_bytes

MOST_SEEDS = 20  # of a sweep that is proposed


def evidence(frame: Frame, options: tuple[Option, ...]) -> tuple[str, ...]:
    """One text per block, as `advise.sentences`; empty for a block without advice."""
    blocks = dict.fromkeys(o.block for o in options)
    return tuple(_of_block(frame, [o for o in options if o.block == block and o.fits]) for block in blocks)


def _of_block(frame: Frame, fitting: list[Option]) -> str:
    top = next((o for o in fitting if o.best), None)
    if top is None:
        return ""
    among = [o.method for o in fitting]
    rivals = alike(frame, top.block, top.method, among)
    parts = [_what(frame, top), _tests(frame, top, rivals, worse_than(frame, top.block, top.method, among))]
    if rivals:
        parts += [_least_memory([o for o in fitting if o is top or o.method in rivals])]
        parts += [_deciding(frame, top, rivals)]
    return " ".join(filter(None, parts))


def _what(frame: Frame, top: Option) -> str:
    """`LoRA: rank 8 on q, v; 3 runs (seeds 0, 1 and 2).`"""
    runs = frame.cell(top.block, top.method)
    rank, targets = runs.iloc[0]["end_rank"], str(runs.iloc[0]["targets"]).replace(",", ", ")
    words = [f"rank {rank:g}"] if np.isfinite(rank) and not runs["learns_ranks"].any() else []
    words += [f"on {targets}"] if targets else []
    seeds = [str(seed) for seed in sorted(set(runs.loc[runs["shown"].notna(), "seed"]))]
    counted = f"{top.score.n} runs (seed{'s' * (len(seeds) > 1)} {named(seeds)})"
    return f"{top.method}: {'; '.join(filter(None, [' '.join(words), counted]))}."


def _tests(frame: Frame, top: Option, rivals: tuple[str, ...], worse: tuple[str, ...]) -> str:
    """The paired test behind each name; empty where nothing else fits."""
    if not rivals and not worse:
        return ""
    table = told_apart(frame, top.block, "shown")
    pairs = int(table.notna().to_numpy().sum()) // 2
    found = [f"{m} p = {table.loc[top.method, m]:.2g}" for m in (*rivals, *worse)]
    return f"Paired t over seeds, Holm over {pairs} pair{'s' * (pairs != 1)}: {named(found, most=4)}."


def _least_memory(options: list[Option]) -> str:
    """The cheaper one of those that cannot be told apart; empty where a peak was not measured."""
    peaks = {o.method: o.peak_gb for o in options if o.peak_gb is not None}
    if len(peaks) < len(options):
        return ""
    least = min(peaks, key=lambda m: peaks[m])
    return f"The least memory of them: {least}, {format_bytes(1e9 * peaks[least])}."


def _deciding(frame: Frame, top: Option, rivals: tuple[str, ...]) -> str:
    runs = pd.concat([frame.cell(top.block, m) for m in (top.method, *rivals)])
    if (runs["setting"] != "").any():
        return "Their settings are beside the cards': a sweep's card of your own (`peftlab new sweep`) decides it."
    seeds = seeds_to_decide(frame, top.block, top.method, rivals)
    if seeds is None:
        return f"Differences this small take more than {MOST_SEEDS} seeds to find: no sweep is proposed."
    command = sweep_command(runs, seeds)
    return f"To decide (80 % power, if the differences seen are the true ones): {command}"


def seeds_to_decide(frame: Frame, block: str, best: str, rivals: tuple[str, ...]) -> int | None:
    """The fewest seeds, more than there are, with which a paired t test (p < .05, Bonferroni over the rivals) finds
    each difference seen with 80 % power, for the spread seen; None where that is more than MOST_SEEDS.
    """
    values, step = frame.values(block, "shown"), scale_of(frame.block(block), "shown").step
    gaps = [(values[best] - values[m]).dropna() for m in rivals]
    alpha = 0.05 / len(rivals)
    enough = (n for n in range(len(values) + 1, MOST_SEEDS + 1) if all(_found(gap, n, alpha, step) for gap in gaps))
    return next(enough, None)


def _found(gap: pd.Series, n: int, alpha: float, step: float) -> bool:
    return detectable(spread(gap, step), n, alpha=alpha) <= abs(float(gap.mean()))
