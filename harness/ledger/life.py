"""What a command that takes a while says on stderr, until it has an answer."""

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.ledger.event_text import seconds_text

Say = Callable[[str], None]
LOGGED_SECONDS = 30.0


@contextmanager
def shown(begin: str, *, clock: bool = True) -> Iterator[Say]:
    """Within, what is being done: `begin`, and then what the function that is given is told.

    On a terminal one line, which is gone at the end; in a log a line each half minute. A thread adds how long these
    words have stood. clock=False: no thread, where the work is timed or is to fork, and tells often enough itself.
    """
    line = _Line()
    line.say(begin)
    over = threading.Event()
    thread = threading.Thread(target=line.tick, args=(over,), daemon=True)
    if clock:
        thread.start()
    try:
        yield line.say
    finally:
        over.set()
        if clock:
            thread.join()
        line.clear()


class _Line:
    def __init__(self) -> None:
        self._on_terminal = sys.stderr.isatty()
        self._words, self._since, self._logged = "", 0.0, time.monotonic()

    def say(self, words: str) -> None:
        self._words, self._since = words, time.monotonic()
        self._show(words)

    def tick(self, over: threading.Event) -> None:
        """Say the words again, with how long they have stood, until it is over."""
        while not over.wait(1.0):
            if (seconds := time.monotonic() - self._since) >= 1:
                self._show(f"{self._words} ({seconds_text(seconds)})")

    def _show(self, words: str) -> None:
        if self._on_terminal:
            self._draw(words)
        elif time.monotonic() - self._logged >= LOGGED_SECONDS:
            self._logged = time.monotonic()
            print(words, file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._on_terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def _draw(self, words: str) -> None:
        room = shutil.get_terminal_size().columns - 1
        cut = words if len(words) <= room else f"{words[: room - 1]}…"
        print(f"\r\033[K{cut}", end="", file=sys.stderr, flush=True)
