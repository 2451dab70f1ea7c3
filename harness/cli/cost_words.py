"""Why a run costs what it costs, in sentences that numbers of its record support; where none does, there is none."""

from collections.abc import Callable, Mapping, Sequence

from harness.cli.cost import ROLES, RUNNING, Control, RunRange
from harness.ledger.record import Record
from harness.ledger.units import format_bytes, format_duration

NAMES = {
    "setup": "set-up", "train": "training", "eval": "evaluation", "checkpoint": "checkpoints", "log": "logging",
    "weights": "weights", "adapter": "adapter", "gradients": "gradients", "optimizer": "optimizer state",
    "saved_for_backward": "kept for backward",
}  # fmt: skip
_LARGE = 0.2  # of the wall time: a clock that has a sentence of its own
_CLOSE = 0.05  # a step whose time follows its FLOPs


def own_reasons(record: Record, numbers: Mapping[str, float]) -> list[str]:
    """Sentences about the run alone."""
    said = [
        _state(record),
        *_shares(record, numbers),
        _wasted(record, numbers),
        _padding(numbers),
        _largest_role(numbers),
    ]
    return [sentence for sentence in said if sentence]


def reasons_against(control: Control, numbers: Mapping[str, float]) -> list[str]:
    """Sentences that hold the run against its control. A time within those of the control's runs is no difference."""
    if control.silent:
        said = [f"Times are not held against {control.label}'s: {control.silent}."]
    else:
        said = [_step(control, numbers), _flops(control, numbers), _running(control, numbers)]
    return [sentence for sentence in [*said, _steps(control, numbers), _memory(control, numbers)] if sentence]


def step_words(milliseconds: float) -> str:
    return f"{milliseconds:,.{1 if milliseconds < 100 else 0}f} ms"


def flop_words(flop: float) -> str:
    """`0.36 GFLOP` (10^9)."""
    return f"{flop / 1e9:,.3g} GFLOP" if flop < 1e12 else f"{flop / 1e9:,.0f} GFLOP"


def _state(record: Record) -> str:
    if record.failure is not None:
        return f"It failed ({record.failure.kind}, step {record.failure.step}): this is what it cost until then."
    if why := record.why_not_comparable:
        return f"Its times are marked, so they say little about the method: {why.rstrip('.')}."
    return "It starts from another run, whose cost is not in these numbers." * bool(record.spec.get("source"))


def _shares(record: Record, numbers: Mapping[str, float]) -> list[str]:
    wall = numbers.get("seconds.wall", 0.0)
    if not wall:
        return []
    shares = {clock: numbers.get(f"seconds.{clock}", 0.0) / wall for clock in NAMES if f"seconds.{clock}" in numbers}
    large = sorted((clock for clock in shares if shares[clock] >= _LARGE), key=lambda clock: -shares[clock])
    return [f"{_capital(NAMES[c])} is {shares[c]:.0%} of the wall time{_made_of(c, record, numbers)}." for c in large]


def _capital(name: str) -> str:
    return name[0].upper() + name[1:]


def _made_of(clock: str, record: Record, numbers: Mapping[str, float]) -> str:
    steps, step = numbers.get("work.steps"), numbers.get("speed.step_ms_median")
    if clock == "train" and steps and step:
        made = f"{steps:,.0f} steps of {step_words(step)} (the median) make {format_duration(steps * step / 1e3)}"
        return f": {made}, and it took {format_duration(numbers['seconds.train'])}"
    if clock == "eval" and record.curve:
        return f": {len(record.curve)} validation passes, and the test"
    return ""


def _wasted(record: Record, numbers: Mapping[str, float]) -> str:
    lost = numbers.get("seconds.train_wasted", 0.0)
    return f"Restarts lost {format_duration(lost)} of training ({record.attempts} attempts)." * (lost > 0)


def _padding(numbers: Mapping[str, float]) -> str:
    share = numbers.get("speed.padding_share", 0.0)
    return f"{share:.0%} of the tokens that it trains on are padding." * (share >= 0.1)


def _largest_role(numbers: Mapping[str, float]) -> str:
    if not (total := numbers.get("ledger.total")):
        return ""
    role = max(ROLES, key=lambda role: numbers[f"ledger.{role}"])
    share = numbers[f"ledger.{role}"] / total
    return f"Of the {format_bytes(total)} of a step, {share:.0%} are {_of_role(role)}."


def _of_role(role: str) -> str:
    return "kept for the backward pass" if role == "saved_for_backward" else f"the {NAMES[role]}"


def _pair(key: str, control: Control, numbers: Mapping[str, float]) -> tuple[float, RunRange] | None:
    both = key in numbers and key in control.numbers and control.numbers[key].median > 0
    return (numbers[key], control.numbers[key]) if both else None


def _beyond(mine: float, theirs: RunRange) -> bool:
    """Outside of what the control's runs took; of a single run nothing is."""
    return theirs.runs > 1 and not theirs.low <= mine <= theirs.high


def _ratio(pair: tuple[float, RunRange], control: Control, thing: str, words: Callable[[float], str]) -> str:
    """`0.81 × LoRA's step (19 ms to 23 ms)`."""
    mine, theirs = pair
    return f"{mine / theirs.median:.2f} × {control.label}'s{thing} ({words(mine)} to {words(theirs.median)})"


def _step(control: Control, numbers: Mapping[str, float]) -> str:
    if not (pair := _pair("speed.step_ms_median", control, numbers)):
        return ""
    mine, theirs = pair
    ratio = f"Its step takes {_ratio(pair, control, '', step_words)}"
    if theirs.runs == 1:
        return f"{ratio}; of one run, which cannot say what is chance."
    if _beyond(mine, theirs):
        return f"{ratio}, {'more' if mine > theirs.high else 'less'} than each of its {theirs.runs} runs."
    between = f"{step_words(theirs.low)} to {step_words(theirs.high)}"
    return f"{ratio}, within its {theirs.runs} runs ({between}): no difference that they support."


def _flops(control: Control, numbers: Mapping[str, float]) -> str:
    """FLOPs beside times: does the step take what its products would take at the control's rate?"""
    if not (pair := _pair("work.flops_per_step", control, numbers)):
        return ""
    done = f"It does {_ratio(pair, control, ' FLOPs', flop_words)}"
    step = _pair("speed.step_ms_median", control, numbers)
    if step is None or not _beyond(*step):
        return f"{done}."
    expected = pair[0] / pair[1].median * step[1].median
    if abs(step[0] / expected - 1) <= _CLOSE:
        return f"{done}: its step takes what that many take at {control.label}'s rate."
    apart = f"{step_words(abs(step[0] - expected))} {'more' if step[0] > expected else 'less'}"
    return (
        f"{done}: at {control.label}'s rate {step_words(expected)}, and it takes {apart}. That is in the speed of its "
        "products or in what FLOPs do not count (element-wise work, the optimizer); no record tells these apart."
    )


def _running(control: Control, numbers: Mapping[str, float]) -> str:
    if not (pair := _pair("seconds.running", control, numbers)) or not _beyond(*pair):
        return ""
    most = _most("seconds", RUNNING, control, numbers, format_duration)
    return f"After set-up it takes {_ratio(pair, control, '', format_duration)}; most of that difference is {most}."


def _steps(control: Control, numbers: Mapping[str, float]) -> str:
    pair = _pair("work.steps", control, numbers)
    if pair is None or pair[0] == pair[1].median:
        return ""
    return f"It takes {pair[0]:,.0f} steps, {control.label} {pair[1].median:,.0f}."


def _memory(control: Control, numbers: Mapping[str, float]) -> str:
    if not (pair := _pair("ledger.total", control, numbers)) or pair[0] == pair[1].median:
        return ""
    most = _most("ledger", ROLES, control, numbers, format_bytes)
    return f"Its step holds {_ratio(pair, control, ' bytes', format_bytes)}; most of that difference is {most}."


def _most(
    group: str, parts: Sequence[str], control: Control, numbers: Mapping[str, float], words: Callable[[float], str]
) -> str:
    """The part whose difference goes furthest in the direction of the whole."""
    there = control.numbers
    apart = {part: numbers[key] - there[key].median for part in parts if (key := f"{group}.{part}") in there}
    part = (max if sum(apart.values()) > 0 else min)(apart, key=lambda part: apart[part])
    name = "what is kept for backward" if part == "saved_for_backward" else NAMES[part]
    return f"{name} ({words(abs(apart[part]))} {'more' if apart[part] > 0 else 'less'})"
