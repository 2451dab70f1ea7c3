"""A run that several processes do together: they are started here, watched, and ended together. Standard library only.

The process that holds the run's lease computes nothing of it. It starts the processes (`harness.execution.rank`), hands
on a request to stop, ends all when one ends early, and publishes the record that the first of them leaves. Processes
whose parent dies end by themselves: their standard input ends.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from harness.config.settings import Settings, settings_to_plain
from harness.execution.supervisor import signal_name
from harness.execution.worker import STOPPED
from harness.ledger.errors import NodeError
from harness.ledger.plan import Planned
from harness.ledger.record import Record, record_from_json
from harness.ledger.store import Store

POLL_SECONDS = 0.05
GRACE_SECONDS = 5.0  # for the others, once one has ended early: they may have more to say
Rank = subprocess.Popen[bytes]


def run_ranks(planned: Planned, store: Store, settings: Settings, stop: Callable[[], bool]) -> Record | None:
    """The run's record, written to the store; None when it was stopped and left a checkpoint.

    Raises NodeError when a process died, or the machine is to blame: there is no record then.
    """
    folder = store.paths(planned.id).folder
    folder.mkdir(parents=True, exist_ok=True)
    _forget_outcomes(folder)
    with _started(planned, store, settings) as ranks:
        died = _watch(ranks, stop)
        record = _record(folder, [rank.returncode for rank in ranks], died)
    _forget_outcomes(folder)
    if record is not None:
        store.write(record)
        if record.status == "done":
            shutil.rmtree(store.paths(planned.id).checkpoint, ignore_errors=True)
    return record


def outcome_file(folder: Path, rank: int) -> Path:
    """Where a process leaves its record, or why there is none."""
    return folder / f"outcome.{rank}.json"


def _forget_outcomes(folder: Path) -> None:
    for file in folder.glob("outcome.*.json"):
        file.unlink(missing_ok=True)


def rank_command(planned: Planned, store: Store, settings: Settings) -> list[str]:
    """What each process is started by."""
    command = [sys.executable, "-m", "harness.execution.rank", "--runs", str(store.root)]
    return [*command, "--planned", json.dumps(asdict(planned)), "--settings", json.dumps(settings_to_plain(settings))]


@contextmanager
def _started(planned: Planned, store: Store, settings: Settings) -> Iterator[list[Rank]]:
    """Whatever happens, none is left: they are asked for a checkpoint and an end, and are waited for."""
    command = rank_command(planned, store, settings)
    ranks: list[Rank] = []
    try:
        for environment in environments(settings.processes):
            # a session of its own: Ctrl-C is for the parent, which asks all of them
            ranks.append(subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True))
        yield ranks
    except BaseException:
        _signal(ranks, signal.SIGTERM)
        for rank in ranks:
            rank.wait()
        raise
    finally:
        _signal(ranks, signal.SIGKILL)
        for rank in ranks:
            rank.communicate()


def environments(count: int) -> list[dict[str, str]]:
    """As torchrun's, of `count` processes on this machine, which share out the threads of this one."""
    threads = int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))
    shared = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": str(max(1, threads // count)),
        "TOKENIZERS_PARALLELISM": "false",
    }
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _watch(ranks: Sequence[Rank], stop: Callable[[], bool]) -> str | None:
    """Until all have ended; what one died of by itself. None outlives for long another that ended early."""
    asked, died = False, None
    until: float | None = None
    while None in [rank.poll() for rank in ranks]:
        if stop() and not asked:
            asked = True
            _signal(ranks, signal.SIGTERM)
        if until is None and any(rank.returncode not in (None, 0, STOPPED) for rank in ranks):
            until, died = time.monotonic() + GRACE_SECONDS, _death(ranks)
        if until is not None and time.monotonic() > until:
            _signal(ranks, signal.SIGKILL)
        time.sleep(POLL_SECONDS)
    return died or (None if until else _death(ranks))


def _death(ranks: Sequence[Rank]) -> str | None:
    """`process 1 of 2 died of SIGKILL`."""
    for number, rank in enumerate(ranks):
        if rank.returncode is not None and rank.returncode < 0:
            return f"process {number} of {len(ranks)} died of {signal_name(-rank.returncode)}"
    return None


def _record(folder: Path, codes: Sequence[int], died: str | None) -> Record | None:
    """What came of it. The first to fail is the culprit: the others only lost it."""
    outcomes = sorted(folder.glob("outcome.*.json"), key=lambda file: file.stat().st_mtime_ns)
    said = [json.loads(file.read_bytes()) for file in outcomes]
    records = [record_from_json(each) for each in said if "trouble" not in each]
    if failed := [record for record in records if record.status == "failed"]:
        return failed[0]
    if all(code == 0 for code in codes):
        return records[0]
    if all(code in (0, STOPPED) for code in codes):
        return None
    last = f"exit codes {', '.join(map(str, codes))}, see peftlab logs {folder.name}"
    why = died or next((each["trouble"] for each in said if "trouble" in each), last)
    raise NodeError(f"{why}; the same command takes the run up again.")


def _signal(ranks: Sequence[Rank], how: signal.Signals) -> None:
    for rank in ranks:
        if rank.poll() is None:
            rank.send_signal(how)
