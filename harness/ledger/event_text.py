"""An event of a run as a line for people: the time of day, how far it is, and the few numbers that matter."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

SHOWN = ("train_loss", "val_loss", "lr", "train_s")
SCORES = ("val_", "test/", "val/")
SECONDS = "seconds/wall"


def event_text(event: Mapping[str, Any]) -> str:
    """`14:03:05  val  step 40 of 120  train_loss 0.562  val_accuracy 0.91`; of an unknown kind, all it holds."""
    kind = str(event.get("event", "?"))
    words = [_clock(event.get("t")), f"{kind:<6}", *_where(event), *_numbers(event, kind)]
    return "  ".join(word for word in words if word)


def seconds_text(seconds: float) -> str:
    """`48 s`, `12 min`, `3.4 h`: how long something takes."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _clock(t: Any) -> str:
    """Of this machine's time zone, with the day: a log may be read tomorrow."""
    known = isinstance(t, int | float) and not isinstance(t, bool)
    try:
        return f"{datetime.fromtimestamp(t):%Y-%m-%d %H:%M:%S}" if known else " " * 19
    except (ValueError, OverflowError, OSError):
        return " " * 19


def _where(event: Mapping[str, Any]) -> list[str]:
    if event.get("step") is None:
        return []
    total = event.get("total")
    return [f"step {event['step']}" + (f" of {total}" if total else "")]


def _numbers(event: Mapping[str, Any], kind: str) -> list[str]:
    rest = {key: value for key, value in event.items() if key not in ("t", "event", "step", "total")}
    if kind == "end":
        wall = rest.get(SECONDS)
        took = [f"took {seconds_text(wall)}"] if isinstance(wall, int | float) else []
        return [*took, *_shown({key: value for key, value in rest.items() if key.startswith(("test/", "val/"))})]
    if kind in ("val", "step"):
        rest = {key: value for key, value in rest.items() if key in SHOWN or key.startswith(SCORES)}
    return _shown(rest)


def _shown(numbers: Mapping[str, Any]) -> list[str]:
    return [f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in numbers.items()]
