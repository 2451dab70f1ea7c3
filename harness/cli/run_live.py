"""What a run that is being done shows: step, loss, rate and time left; one line redrawn, or in a log one now and then.

It reads the run's events, as any other process could: training knows nothing of it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from harness.ledger.event_text import seconds_text
from harness.ledger.events import last_event
from harness.ledger.progress import progress

REDRAWN_SECONDS, LOGGED_SECONDS = 1.0, 30.0


@contextmanager
def shown_live(run_id: str, events: Path, console: Console) -> Iterator[None]:
    """Within, the state of the run is shown; at once that it is being prepared."""
    over = threading.Event()
    begin = f"run {run_id}: loading model and data; from elsewhere: peftlab logs {run_id} -f"
    if not console.is_terminal:
        console.print(begin, markup=False)
        with _followed(over, LOGGED_SECONDS, lambda: console.print(live_text(events), markup=False)):
            yield
        return
    with console.status(escape(begin)) as line:
        with _followed(over, REDRAWN_SECONDS, lambda: line.update(escape(f"run {run_id}: {live_text(events)}"))):
            yield


@contextmanager
def _followed(over: threading.Event, every: float, tell: Callable[[], None]) -> Iterator[None]:
    """Calls `tell` every so many seconds from a thread, until the block ends."""

    def follow() -> None:
        while not over.wait(every):
            tell()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def live_text(events: Path) -> str:
    """`step 40 of 120, loss 0.562, 3 steps/s, 27 s left`; the loss is the one of the last evaluation's event."""
    at = progress(events)
    if at is None:
        return "loading model and data"
    words = [f"step {at.step}" + (f" of {at.total}" if at.total else "")]
    loss = (last_event(events, "val") or {}).get("train_loss")
    words += [f"loss {loss:.3g}"] if isinstance(loss, int | float) else []
    if at.total and at.seconds_left:
        words += [f"{(at.total - at.step) / at.seconds_left:.3g} steps/s", f"{seconds_text(at.seconds_left)} left"]
    return ", ".join(words)
