"""The answer in words, block by block: what was best, what is as good within the margin, what it costs, how sure it is.

Says nothing that no test supports: "worse" is a paired test, "as good" is non-inferiority within the sweep's margin and
never a test that failed, "quickest" is a paired test of times.
"""

from dataclasses import dataclass, replace

from analysis.chosen import compared
from analysis.frame import Frame
from analysis.metric import number
from analysis.scale import scale_of
from analysis.stats import exact
from analysis.stats.equivalence import one_sided
from analysis.stats.paired import holm
from analysis.tables.cells import estimate_of, far_off_notes, measured, range_text, told_apart
from analysis.tables.competitive import Difference, differences
from analysis.tables.tuning import Tuned, tuned
from analysis.times import quickest_of


@dataclass(frozen=True)
class Verdict:
    """`best`: the best mean among methods that lost no run (else among all). `alike`: methods that the runs do not tell
    apart from it. `worse`: those that a paired test finds worse on this test set. `as_good`: those that are not worse
    than it by the margin (non-inferiority). `quickest`: the one of `best` and `as_good` that trains in less time than
    each other. None and empty where no test supports it, without a finished run, and in a sweep that tunes.
    """

    block: str
    best: str | None
    alike: tuple[str, ...]
    quickest: str | None
    sentences: tuple[str, ...]
    as_good: tuple[str, ...] = ()
    worse: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.block}: {' '.join(self.sentences)}"


def verdicts(frame: Frame) -> tuple[Verdict, ...]:
    """One for each block, in the order of the plan."""
    tried: dict[str, list[Tuned]] = {}
    for entry in tuned(frame):
        tried.setdefault(entry.block, []).append(entry)
    chosen = compared(frame)
    against = differences(chosen)
    answers = [_verdict(chosen, block, [d for d in against if d.block == block]) for block in chosen.blocks]
    return tuple(replace(v, sentences=(*_choice(tried.get(v.block, [])), *v.sentences)) for v in answers)


def alike(frame: Frame, block: str, best: str, among: list[str]) -> tuple[str, ...]:
    """Those of `among` that a paired t test over common seeds (Holm over the block) does not tell from `best`, though
    it could be made.
    """
    p = told_apart(frame, block, "shown")
    return tuple(m for m in among if m != best and m in p.index and p.loc[best, m] >= 0.05)


def worse_than(frame: Frame, block: str, best: str, among: list[str]) -> tuple[str, ...]:
    """Those of `among` that the same test finds worse than `best`."""
    p = told_apart(frame, block, "shown")
    return tuple(m for m in among if m != best and m in p.index and p.loc[best, m] < 0.05)


def as_good_as(frame: Frame, block: str, best: str, among: list[str]) -> tuple[str, ...]:
    """Those of `among` that are not worse than `best` by the sweep's margin: one-sided paired t tests, Holm over them.

    `best` was chosen for its mean, which makes the others look worse than they are: the test is on the safe side.
    """
    if not frame.margin or not frame.shown(block).in_points:
        return ()
    values, step = frame.values(block, "shown"), scale_of(frame.block(block), "shown").step
    others = [m for m in among if m != best]
    sign = 1 if frame.better(block) == "max" else -1
    p = holm([one_sided((sign * (values[m] - values[best])).dropna(), -frame.margin, step) for m in others])
    return tuple(m for m, value in zip(others, p, strict=True) if value < 0.05)


def _choice(tried: list[Tuned]) -> tuple[str, ...]:
    """What validation chose of several settings; test scores choose nothing."""
    if not tried:
        return ()
    chosen = [f"{entry.method} {entry.settings[entry.best]}" for entry in tried if entry.prefers]
    alike = [entry.method for entry in tried if not entry.prefers]
    sentences = [f"Validation prefers {named(chosen, most=12)}."] if chosen else []
    sentences += [f"It prefers no setting of {named(alike)}: all score alike."] if alike else []
    counts = sorted({len(entry.settings) for entry in tried})
    numbers = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return (*sentences, f"What follows is of one setting a method, chosen so of {numbers} tried, on test.")


def _verdict(frame: Frame, block: str, against: list[Difference]) -> Verdict:
    values = frame.values(block, "shown")
    scored = [str(m) for m in values if values[m].notna().any()]
    if not scored:
        return Verdict(block, None, (), None, ("No run has finished.",))
    whole = [m for m in scored if values[m].notna().sum() == len(frame.cell(block, m))] or scored
    sign = 1 if frame.better(block) == "max" else -1
    means = {m: sign * float(exact.mean(values[m].dropna().to_numpy())) for m in whole}
    best = max(whole, key=lambda m: means[m])
    rivals, good = alike(frame, block, best, scored), as_good_as(frame, block, best, scored)
    quickest, why = quickest_of(frame, block, [best, *good]) if good else (None, "")
    ties = [m for m in whole if m != best and means[m] == means[best]]
    sentences = [_lead(frame, block, best, len(scored)), f"{named(ties)} has the very same mean." if ties else ""]
    sentences += [_compared(frame, block, best, scored, rivals) if len(scored) > 1 else ""]
    sentences += [_as_good(frame, block, best, good, quickest, why)] if len(scored) > 1 else []
    lost = [text for m in frame.methods_of(block) if (text := _lost(frame, block, m))]
    sentences += [f"Not all runs have a score: {named(lost)}."] if lost else []
    sentences += [*(_competitive(frame, against) if len(values) > 2 else ()), *far_off_notes(frame, block)]
    worse = worse_than(frame, block, best, scored)
    return Verdict(block, best, rivals, quickest, tuple(filter(None, sentences)), good, worse)


def _lead(frame: Frame, block: str, best: str, scored: int) -> str:
    if scored == 1:
        return f"{best} alone has a score, and is compared with nothing: {_score_and_cost(frame, block, best)}."
    return f"{best} has the best mean: {_score_and_cost(frame, block, best)}."


def _compared(frame: Frame, block: str, best: str, scored: list[str], rivals: tuple[str, ...]) -> str:
    """Who was tested against the best, and what that gave. Only those are named of whom a test speaks."""
    seeds = len(frame.values(block, "shown"))
    if seeds < 3:
        return f"{seeds} seed{'s' * (seeds > 1)}: too few to tell methods apart (three are needed)."
    table = told_apart(frame, block, "shown")
    p = table.loc[best, [m for m in scored if m != best]]
    worse, untested = [str(m) for m in p.index[p < 0.05]], [str(m) for m in p.index[p.isna()]]
    pairs = int(table.notna().to_numpy().sum()) // 2
    test = f"paired t over seeds, Holm over {pairs} pair{'s' * (pairs != 1)}, p < .05"
    sentences = [f"Worse on this test set ({test}): {named(worse, most=12)}."] if worse else []
    sentences += [f"{seeds} seeds do not tell it from {named(list(rivals))}."] if rivals else []
    sentences += [f"Not tested, with fewer than three seeds in common: {named(untested)}."] if untested else []
    return " ".join(sentences)


def _as_good(frame: Frame, block: str, best: str, good: tuple[str, ...], quickest: str | None, why: str) -> str:
    """What is not worse than the best by the margin, and the quickest of all that are that good."""
    if not good:
        return ""
    text = f"Within {_margin(frame)} of it (non-inferiority, p < .05): {named(list(good))}"
    if quickest is None:
        return f"{text}; none is called the quickest: {why}."
    if quickest == best:
        return f"{text}; {best} is the quickest of them (paired t of times, p < .05)."
    cost = _score_and_cost(frame, block, quickest)
    return f"{text}; the quickest of them (paired t of times, p < .05) is {quickest}: {cost}."


def _margin(frame: Frame) -> str:
    margin = number(frame.margin or 0, 1).removesuffix(".0")
    return f"{margin} point{'s' * (margin != '1')}"


def _lost(frame: Frame, block: str, method: str) -> str:
    """`cLA (1 of 5 missing)`; empty for a method that lost no run."""
    status = frame.cell(block, method)["status"]
    out = status[status != "done"]
    if out.empty:
        return ""
    kinds = " and ".join(dict.fromkeys(out))
    return f"{method} ({kinds if len(out) == len(status) else f'{len(out)} of {len(status)} {kinds}'})"


def _score_and_cost(frame: Frame, block: str, method: str) -> str:
    runs, metric = frame.cell(block, method), frame.shown(block)
    score, unit = estimate_of(runs, "shown"), f" {metric.unit}" if metric.unit else ""
    seeds = range_text(score, lambda v: number(v, metric.digits))
    n = f"{score.n} of {len(runs)} runs" if score.n < len(runs) else f"{score.n} run{'s' * (score.n > 1)}"
    time, saved = estimate_of(runs, "train_s"), measured(runs, "saved_bytes")
    width = range_text(time, lambda v: f"{v:,.1f}")
    costs = [f"{time.mean:,.1f}{width} s of training"] if time.n else []
    costs += [f"{saved.mean() / 1e6:,.1f} MB saved for backward"] if len(saved) else []
    return ", ".join([f"{metric.name} {number(score.mean, metric.digits)}{seeds}{unit} ({n})", *costs])


def _competitive(frame: Frame, against: list[Difference]) -> tuple[str, ...]:
    judged = [d for d in against if d.competitive is not None]
    if not judged:
        return ()
    by = {v: [d.method for d in judged if d.competitive and d.competitive.verdict == v] for v in ("yes", "no")}
    by["not enough runs to say"] = [d.method for d in judged if d.method not in (*by["yes"], *by["no"])]
    parts = [f"{verdict}: {named(methods)}" for verdict, methods in by.items() if methods]
    return (f"As good as {frame.control} within {_margin(frame)}? {'; '.join(parts)}.",)


def named(methods: list[str], most: int = 5) -> str:
    """`a, b and c`; of more than six, the first five and how many more."""
    more = len(methods) - most
    if more > 1:
        return f"{', '.join(methods[:most])} and {more} more"
    return " and ".join(filter(None, (", ".join(methods[:-1]), methods[-1]))) if methods else "none"
