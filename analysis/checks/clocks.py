"""Times against each other: five clocks are the wall time, and the steps that were timed fit into training."""

from collections.abc import Iterator
from datetime import datetime

from analysis.checks.evidence import Evidence, value
from harness.ledger.quantity import Measured
from harness.ledger.record import CLOCKS

SHARE, SECONDS = 0.01, 0.05  # how far the sum of the clocks may be off


def clocks(run: Evidence) -> Iterator[str]:
    """Five disjoint clocks add up to the wall time within 1 % (measuring.md, T1); what restarts lost is in none.

    A set-up that is the worker's is in neither.
    """
    seconds = run.record.seconds
    names = [name for name in CLOCKS if name != "setup" or value(seconds, "worker_setup") is None]
    parts = {name: value(seconds, name) for name in names}
    wall, train = value(seconds, "wall"), parts["train"]
    known = [part for part in parts.values() if part is not None]
    if wall is None or train is None or len(known) < len(parts):
        return
    if abs(sum(known) - wall) > SHARE * wall + SECONDS:
        yield f"the clocks add up to {sum(known):.1f} s of {wall:.1f} s"
    last = run.record.curve[-1].train_seconds if run.record.curve else 0.0
    if last > train * (1 + SHARE) + SECONDS:
        yield f"training took {train:.1f} s, and its last validation point is at {last:.1f} s"


def steps_fit(run: Evidence) -> Iterator[str]:
    """The steps that were timed took no longer than all of training."""
    train, speed = value(run.record.seconds, "train"), run.record.speed.get("step_ms_p5")
    if train is None or not isinstance(speed, Measured):
        return
    steps, least = speed.n, 0.9 * speed.n * speed.value / 1e3
    if least > train:
        yield f"{steps} steps of {speed.value:.0f} ms or more (95 % of them) do not fit {train:.1f} s of training"
    rate, batch = (
        value(run.record.speed, "samples_per_s"),
        run.recipe.get("batch_size", 0) * run.recipe.get("accumulate", 1),
    )
    if rate and (timed := 0.9 * steps * batch / rate) > train:
        yield f"{steps} steps of {batch} examples at {rate:.1f} a second took {timed / 0.9:.1f} s of {train:.1f} s"


def event_times(run: Evidence) -> Iterator[str]:
    """From the start of training to its end no less time passed than the clocks of an unbroken run say."""
    start = next((e for e in reversed(run.events) if e["event"] in ("start", "resume")), None)
    if start is None or start["event"] == "resume" or run.record.attempts > 1 or not run.done:
        return
    passed = run.last("end")["t"] - start["t"]
    parts = [value(run.record.seconds, name) for name in ("train", "eval", "checkpoint")]
    spent = sum(part for part in parts if part is not None)
    if spent > passed * 1.02 + 1:
        yield f"training, evaluation and checkpoints took {spent:.1f} s, of {passed:.1f} s between start and end"
    wall = value(run.record.seconds, "wall")
    before = value(run.record.seconds, "worker_setup") or 0.0
    if wall is not None and passed > (wall + before) * 1.02 + 1:
        yield f"{passed:.1f} s passed between start and end, and the wall time is {wall:.1f} s"


def finished(run: Evidence) -> Iterator[str]:
    """The record was finished when the event log ends."""
    stamp = run.record.provenance.get("finished")
    if stamp is None or not run.done:
        return
    apart = abs(datetime.fromisoformat(stamp).timestamp() - run.last("end")["t"])
    if apart > 600:
        yield f"finished {stamp}, {apart:.0f} s from the end of the event log"
