"""What `advise` says of methods that nobody has run: estimates of memory and time, called that, and never a score."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.advise import Option
from analysis.frame import Frame
from analysis.unrecorded import BASELINES
from harness.ledger.units import format_bytes, format_duration

# (methods, cards by axis, on a CPU?) -> method, gb, hours and hours_from of each that can be run; None: not known
Estimate = Callable[[Sequence[str], dict[str, str], bool], list[dict[str, Any]]]


@dataclass(frozen=True)
class Budget:
    """Most memory in 10^9 bytes, and most hours; None: no limit."""

    gb: float | None
    hours: float | None

    @property
    def is_limited(self) -> bool:
        return self.gb is not None or self.hours is not None


@dataclass(frozen=True)
class Untried:
    """One method without a record in a block. `fits` is None where a limit is asked for and no number is known."""

    block: str
    method: str
    estimated_gb: float | None
    estimated_hours: float | None
    hours_from: str
    fits: bool | None


def untried(
    frame: Frame, options: Sequence[Option], wanted: Mapping[str, str], budget: Budget, estimate: Estimate
) -> tuple[Untried, ...]:
    """Under a limit, of each block: the four baselines (or the method that was asked for) that have no record there.

    A tiny model is no block that anybody chooses a method for.
    """
    found: list[Untried] = []
    for block in dict.fromkeys(o.block for o in options) if budget.is_limited else ():
        rows = frame.rows[(frame.rows["block"] == block) & (frame.rows["model_size"] == "full")]
        absent = [name for name in _asked(wanted) if name not in set(rows["method_name"])]
        if absent and len(rows):
            first = rows.iloc[0]
            cards = {axis: str(first[axis]) for axis in ("model", "dataset", "recipe") if first[axis]}
            found += judged(block, estimate(absent, cards, bool((rows["peak_kind"] == "RSS").all())), budget)
    return tuple(found)


def untried_cell(wanted: Mapping[str, str], budget: Budget, estimate: Estimate) -> tuple[Untried, ...]:
    """The same of a model and a dataset that no record is of, on a GPU."""
    cards = {axis: wanted[axis] for axis in ("model", "dataset")}
    numbers = estimate(_asked(wanted), cards, False) if budget.is_limited else []
    return judged(" / ".join(cards.values()), numbers, budget)


def judged(block: str, numbers: Sequence[Mapping[str, Any]], budget: Budget) -> tuple[Untried, ...]:
    """Each estimate against the budget."""
    return tuple(
        Untried(block, each["method"], each["gb"], each["hours"], each["hours_from"], _fits(each, budget))
        for each in numbers
    )


def sentences(found: Sequence[Untried], budget: Budget) -> tuple[str, ...]:
    """One sentence per block."""
    blocks = dict.fromkeys(each.block for each in found)
    return tuple(
        f"{block}: untried, by estimate and not measured: "
        + "; ".join(_words(each, budget) for each in found if each.block == block)
        + ". Estimates are those of `peftlab plan`, and say nothing of the score."
        for block in blocks
    )


def _asked(wanted: Mapping[str, str]) -> list[str]:
    return [wanted["method"]] if "method" in wanted else BASELINES.split(",")


def _fits(each: Mapping[str, Any], budget: Budget) -> bool | None:
    pairs = [(each["gb"], budget.gb), (each["hours"], budget.hours)]
    limited = [(value, limit) for value, limit in pairs if limit is not None]
    if any(value is not None and value > limit for value, limit in limited):
        return False
    return None if any(value is None for value, _ in limited) else True


def _words(each: Untried, budget: Budget) -> str:
    """`cla (estimated 35 MB, hours not known: no record yet) fits`."""
    memory = "memory not known" if each.estimated_gb is None else f"estimated {format_bytes(1e9 * each.estimated_gb)}"
    hours = (
        f"estimated {format_duration(3600 * each.estimated_hours)}"
        if each.estimated_hours is not None
        else (f"hours not known: {each.hours_from}")
    )
    costs = [memory] if budget.hours is None else [memory, hours]
    verdict = {True: "fits", False: "does not fit", None: "may fit"}[each.fits]
    return f"{each.method} ({', '.join(costs)}) {verdict}"
