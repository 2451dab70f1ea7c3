"""`python -m harness.execution.worker --runs DIR --plan NAME [--settings JSON] [ID …]`: works through runs.

Started by the local launcher and inside SLURM jobs. SIGTERM, SIGINT, SIGUSR2 and SIGHUP (a terminal that
is closed) ask for a checkpoint and an end.
Exit code: 0 when every run it did is done, 1 when one failed, 75 when it was stopped before the end.
"""

import argparse
import importlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.execution.queue import LeasedStore, RunOne, is_settled, work
from harness.execution.shared_device import shared
from harness.ledger.errors import HarnessError
from harness.ledger.plan import Planned, read_plan
from harness.ledger.record import Record
from harness.ledger.store import Store
from harness.measure.cores import take_share
from harness.measure.process_history import expect_more

STOPPED = 75  # EX_TEMPFAIL: try again later
ASKS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2, signal.SIGHUP)  # for a checkpoint and an end
DEFAULT_RUNNER = "harness.execution.runner:run"


def main(argv: list[str]) -> int:
    given = _parse(argv)
    take_share()
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(message)s")
    asked = stop_on_signals()
    store = Store(given.runs)
    try:
        plan = read_plan(given.runs, given.plan)
        ids = list(given.ids or plan.ids)
        isolate = bool((given.settings or {}).get("isolate"))
        if isolate:
            ids = [run_id for run_id in ids if not is_settled(store, run_id)]
        now = ids[:1] if isolate else ids
        if len(now) > 1:
            expect_more()
        failed = bool(work(now, plan, store, _runner(given, asked), stop=lambda: bool(asked))) or given.failed_before
        if ids[len(now) :] and not asked:
            _go_on_afresh(argv[: len(argv) - len(given.ids)], ids[len(now) :], failed)
    except HarnessError as error:
        print(error, file=sys.stderr)
        return 2
    if failed:
        return 1
    return STOPPED if asked else 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m harness.execution.worker", description=__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="the store")
    parser.add_argument("--plan", required=True, help="the name of a plan written there")
    parser.add_argument("--settings", type=json.loads, help="harness.config.settings.settings_to_plain, as JSON")
    parser.add_argument("--runner", default=DEFAULT_RUNNER, help="module:function that does one run")
    parser.add_argument("--at-once", type=int, default=1, help="runs that share the device; above 1 no timing counts")
    parser.add_argument("--failed-before", action="store_true", help="a run failed before this image of the process")
    parser.add_argument("ids", nargs="*", help="run ids; none: all of the plan")
    return parser.parse_args(argv)


def _go_on_afresh(options: Sequence[str], ids: Sequence[str], failed: bool) -> None:
    """Become a new image of this process, under the same pid: no memory, module or kernel of the last run is left."""
    sys.stdout.flush()
    flag = ["--failed-before"] if failed else []
    os.execv(sys.executable, [sys.executable, "-m", "harness.execution.worker", *options, *flag, *ids])


def stop_on_signals() -> list[int]:
    """The signals that asked for an end, as they come. A list, because a handler may interrupt a handler: an Event
    would wait for its own lock then."""
    asked: list[int] = []
    for name in ASKS:
        signal.signal(name, lambda signum, frame: asked.append(signum))
    return asked


def how_it_ended(code: int) -> int:
    """A worker's exit code; one that was asked to end before it could listen was stopped, not killed (negative)."""
    return STOPPED if -code in ASKS else code


def _runner(given: argparse.Namespace, asked: Sequence[int]) -> RunOne:
    """The runner with its settings, saying how each run ended."""
    module, _, name = given.runner.partition(":")
    function = getattr(importlib.import_module(module), name)
    settings = None
    if given.settings:
        from harness.config.settings import settings_from

        settings = settings_from(given.settings, given.settings.get("sweep"))

    def run_one(planned: Planned, store: LeasedStore) -> Record | None:
        def ends() -> bool:
            return bool(asked) or store.lease.lost.is_set()

        start = time.monotonic()
        with output_to(store.paths(planned.id).log):
            record = function(planned, shared(store, given.at_once), settings, ends)
        how = "stopped" if record is None else record.status
        logging.info("%s %s after %.1f s", planned.id, how, time.monotonic() - start)
        return record

    return run_one


@contextmanager
def output_to(path: Path) -> Iterator[None]:
    """Whatever this process and its children print meanwhile is appended to a file."""
    streams = (sys.stdout, sys.stderr)
    with path.open("ab") as file:
        saved = [os.dup(stream.fileno()) for stream in streams]
        try:
            for stream in streams:
                stream.flush()
                os.dup2(file.fileno(), stream.fileno())
            yield
        finally:
            for stream, own in zip(streams, saved, strict=True):
                stream.flush()
                os.dup2(own, stream.fileno())
                os.close(own)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
