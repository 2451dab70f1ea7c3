"""How much of a number of things is done: a bar on a terminal, a line each half minute in a log."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.ledger.life import shown


@contextmanager
def counted(words: str, total: int) -> Iterator[Callable[[], None]]:
    """Shown on stderr within; what is given is called after each of the `total`."""
    from rich.console import Console
    from rich.progress import Progress

    if (console := Console(stderr=True)).is_terminal:
        with Progress(console=console, transient=True) as bar:
            task = bar.add_task(words, total=total)
            yield lambda: bar.advance(task)
        return
    done = 0
    with shown(f"{words}: 0 of {total}") as say:

        def one_more() -> None:
            nonlocal done
            done += 1
            say(f"{words}: {done} of {total}")

        yield one_more
