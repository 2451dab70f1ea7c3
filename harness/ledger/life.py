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

    On a terminal one line, which is gone at the end, with the seconds since these words; in a log what is told, once in
    half a minute. clock=False: no thread counts the seconds, where the work is timed, or is to fork.
    """
    line = _Line()
    line.say(begin)
    over = threading.Event()
    thread = threading.Thread(target=line.tick, args=(over,), daemon=True) if clock and line.on_terminal else None
    if thread:
        thread.start()
    try:
        yield line.say
    finally:
        over.set()
        if thread:
            thread.join()
        line.clear()


class _Line:
    def __init__(self) -> None:
        self.on_terminal = sys.stderr.isatty()
        self._words, self._since, self._logged = "", 0.0, time.monotonic()

    def say(self, words: str) -> None:
        now = time.monotonic()
        self._words, self._since = words, now
        if self.on_terminal:
            self._draw(words)
        elif now - self._logged >= LOGGED_SECONDS:
            self._logged = now
            print(words, file=sys.stderr, flush=True)

    def tick(self, over: threading.Event) -> None:
        while not over.wait(1.0):
            if (seconds := time.monotonic() - self._since) >= 1:
                self._draw(f"{self._words} ({seconds_text(seconds)})")

    def clear(self) -> None:
        if self.on_terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def _draw(self, words: str) -> None:
        room = shutil.get_terminal_size().columns - 1
        cut = words if len(words) <= room else f"{words[: room - 1]}…"
        print(f"\r\033[K{cut}", end="", file=sys.stderr, flush=True)
