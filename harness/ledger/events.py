"""What happens in a run, line by line, as it happens. Trackers mirror it; `peftlab status` and `logs` read it."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Listener = Callable[[str, Mapping[str, Any]], None]


class Events:
    """Appends to events.jsonl and passes each event on. Lines are written at once and whole."""

    def __init__(self, path: Path, listeners: tuple[Listener, ...] = ()) -> None:
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._listeners = listeners

    def emit(self, event: str, **facts: Any) -> None:
        """One event: start, resume, step, val, link, end, failed."""
        self._file.write(json.dumps({"t": round(time.time(), 3), "event": event} | facts) + "\n")
        for listener in self._listeners:
            listener(event, facts)

    def close(self) -> None:
        self._file.close()


def last_event(path: Path, kind: str) -> dict[str, Any] | None:
    """The newest event of a kind in a file; lines that are no event (torn, or damaged) are passed over."""
    if not path.is_file():
        return None
    for line in reversed(path.read_bytes().splitlines()):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("event") == kind:
            return event
    return None
