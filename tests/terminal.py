"""A stream that says it is a terminal, in the place of stderr."""

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr


class Terminal(io.StringIO):
    """Holds what was written to it."""

    def isatty(self) -> bool:
        return True


@contextmanager
def on_terminal() -> Iterator[Terminal]:
    """Within, stderr is one."""
    with redirect_stderr(Terminal()) as stream:
        yield stream
