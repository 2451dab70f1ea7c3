"""How far a run has come, from the ends of its events.jsonl: cheap however long the file is."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TAIL_BYTES = 8192


@dataclass(frozen=True)
class RunProgress:
    """`step` of `total` are done; None where the events do not tell."""

    step: int
    total: int | None
    seconds_left: float | None  # of training, at the pace of the last steps that were told


def progress(events: Path) -> RunProgress | None:
    """None before the first step was told."""
    try:
        with events.open("rb") as file:
            head = file.read(TAIL_BYTES)
            file.seek(max(0, events.stat().st_size - TAIL_BYTES))
            tail = file.read()
    except OSError:  # no such file, or a folder in its place
        return None
    logged = _events(tail)
    begun = max((i for i, event in enumerate(logged) if event["event"] in ("start", "resume")), default=0)
    steps = [event for event in logged[begun:] if event["event"] in ("step", "val") and _is_count(event.get("step"))]
    if not steps:
        return None
    totals = [event["total"] for event in (*_events(head), *_events(tail)) if _is_count(event.get("total"))]
    total = totals[-1] if totals else None
    first, last = steps[0], steps[-1]
    ahead = last["step"] - first["step"]
    pace = (last["t"] - first["t"]) / ahead if ahead > 0 else None
    left = pace * (total - last["step"]) if pace is not None and total else None
    return RunProgress(last["step"], total, left)


def _events(text: bytes) -> list[dict[str, Any]]:
    """The whole lines of a piece of the file; a torn one at either end, and what is no event, is left out."""
    events = []
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event and isinstance(event.get("t"), int | float):
            events.append(event)
    return events


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
