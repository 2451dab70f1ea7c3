"""The answer in words, block by block: which method to take, what it costs, and how sure that is."""

from dataclasses import dataclass

from analysis.frame import Frame
from analysis.metric import number
from analysis.tables.cells import estimate_of, interval_text, measured, told_apart
from analysis.tables.competitive import Difference, differences
from analysis.tables.tuning import Tuned, tuned


@dataclass(frozen=True)
class Verdict:
    """`best`: the best mean among methods that lost no run (else among all). `alike`: methods that the runs do not tell
    apart from it. `quickest`: the one of all these that trains in the shortest time. None without a finished run,
    and in a sweep that tunes.
    """

    block: str
    best: str | None
    alike: tuple[str, ...]
    quickest: str | None
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.block}: {' '.join(self.sentences)}"


def verdicts(frame: Frame) -> tuple[Verdict, ...]:
    """One for each block, in the order of the plan."""
    against = differences(frame)
    tried: dict[str, list[Tuned]] = {}
    for one in tuned(frame):
        tried.setdefault(one.block, []).append(one)
    return tuple(
        _choice(block, tried[block])
        if block in tried
        else _verdict(frame, block, [d for d in against if d.block == block])
        for block in frame.blocks
    )


def alike(frame: Frame, block: str, best: str, among: list[str]) -> tuple[str, ...]:
    """Those of `among` that a paired t test over common seeds (Holm over the block) does not tell from `best`."""
    p = told_apart(frame, block, "shown")
    return tuple(m for m in among if m != best and m in p.index and not p.loc[best, m] < 0.05)


def quickest_of(frame: Frame, block: str, methods: list[str]) -> str:
    """The method whose finished runs trained in the shortest mean time; the first where time was not measured."""
    times = {m: measured(frame.cell(block, m), "train_s") for m in methods}
    timed = [m for m in methods if len(times[m])]
    return min(timed, key=lambda m: float(times[m].mean()), default=methods[0])


def _choice(block: str, tried: list[Tuned]) -> Verdict:
    """Of a tuning sweep: what validation prefers. Its test scores choose nothing, and so no method is best in it."""
    chosen = [f"{one.method} {one.settings[one.best]}" for one in tried if one.prefers]
    alike = [one.method for one in tried if not one.prefers]
    said = [f"Validation prefers {named(chosen, most=12)}."] if chosen else []
    said += [f"It prefers no setting of {named(alike)}: all score alike."] if alike else []
    return Verdict(block, None, (), None, (*said, "Methods are compared by another sweep, with these settings."))


def _verdict(frame: Frame, block: str, against: list[Difference]) -> Verdict:
    values = frame.values(block, "shown")
    scored = [str(m) for m in values if values[m].notna().any()]
    if not scored:
        return Verdict(block, None, (), None, ("No run has finished.",))
    whole = [m for m in scored if values[m].notna().sum() == len(frame.cell(block, m))] or scored
    sign = 1 if frame.better(block) == "max" else -1
    best = max(whole, key=lambda m: sign * float(values[m].mean()))
    rivals = alike(frame, block, best, scored)
    quickest = quickest_of(frame, block, [best, *rivals])
    said = [f"{best} has the best mean: {_score_and_cost(frame, block, best)}."]
    if len(values) < 3:
        said.append(f"{len(values)} seed{'s' * (len(values) > 1)}: too few to tell methods apart (three are needed).")
    elif not rivals:
        said.append("Every other method is worse (paired t over seeds, Holm, p < .05).")
    else:
        said.append(_rivals(frame, block, best, rivals, quickest))
    lost = [text for m in frame.methods_of(block) if (text := _lost(frame, block, m))]
    said += [f"Not all runs have a score: {named(lost)}."] if lost else []
    said += _competitive(frame, against) if len(values) > 2 else ()
    return Verdict(block, best, rivals, quickest, tuple(said))


def _lost(frame: Frame, block: str, method: str) -> str:
    """`cLA (1 of 5 missing)`; empty for a method that lost no run."""
    status = frame.cell(block, method)["status"]
    out = status[status != "done"]
    if out.empty:
        return ""
    kinds = " and ".join(dict.fromkeys(out))
    return f"{method} ({kinds if len(out) == len(status) else f'{len(out)} of {len(status)} {kinds}'})"


def _rivals(frame: Frame, block: str, best: str, rivals: tuple[str, ...], quickest: str) -> str:
    runs = f"{len(frame.values(block, 'shown'))} seeds"
    if quickest == best:
        return f"{runs} do not tell it from {named(list(rivals))}; it is the quickest of them."
    return (
        f"{runs} do not tell it from {named(list(rivals))}; the quickest of them is {quickest}: "
        f"{_score_and_cost(frame, block, quickest)}."
    )


def _score_and_cost(frame: Frame, block: str, method: str) -> str:
    runs, metric = frame.cell(block, method), frame.shown(block)
    score, unit = estimate_of(runs, "shown"), f" {metric.unit}" if metric.unit else ""
    half = interval_text(score, lambda v: number(v, metric.digits))
    n = f"{score.n} of {len(runs)} runs" if score.n < len(runs) else f"{score.n} run{'s' * (score.n > 1)}"
    found = {name: measured(runs, name) for name in ("train_s", "saved_bytes")}
    costs = [f"{found['train_s'].mean():,.1f} s of training"] if len(found["train_s"]) else []
    costs += [f"{found['saved_bytes'].mean() / 1e6:,.1f} MB saved for backward"] if len(found["saved_bytes"]) else []
    return ", ".join([f"{metric.name} {number(score.mean, metric.digits)}{half}{unit} ({n})", *costs])


def _competitive(frame: Frame, against: list[Difference]) -> tuple[str, ...]:
    judged = [d for d in against if d.competitive is not None]
    if not judged:
        return ()
    by = {v: [d.method for d in judged if d.competitive and d.competitive.verdict == v] for v in ("yes", "no")}
    by["not enough runs to say"] = [d.method for d in judged if d.method not in (*by["yes"], *by["no"])]
    parts = [f"{verdict}: {named(methods)}" for verdict, methods in by.items() if methods]
    margin = number(frame.margin or 0, 1).removesuffix(".0")
    return (f"As good as {frame.control} within {margin} point{'s' * (margin != '1')}? {'; '.join(parts)}.",)


def named(methods: list[str], most: int = 5) -> str:
    """`a, b and c`; of more than six, the first five and how many more."""
    more = len(methods) - most
    if more > 1:
        return f"{', '.join(methods[:most])} and {more} more"
    return " and ".join(filter(None, (", ".join(methods[:-1]), methods[-1]))) if methods else "none"
