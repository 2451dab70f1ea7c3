"""A run that several processes do together: they are started here, watched, and ended together. Standard library only.

The process that holds the run's lease computes nothing of it. It starts the processes (`harness.execution.rank`), hands
on a request to stop, ends all when one ends early, and publishes the record that the first of them leaves. Processes
whose parent dies end by themselves: their standard input ends. Some may be of other nodes (`harness.execution.nodes`).
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO

from harness.config.settings import Settings, settings_to_plain
from harness.execution.nodes import HERE, Nodes, Rank, given_nodes
from harness.execution.supervisor import signal_name
from harness.execution.worker import STOPPED
from harness.ledger.errors import NodeError
from harness.ledger.paths import RunPaths
from harness.ledger.plan import Planned
from harness.ledger.record import Record, record_from_json
from harness.ledger.store import Store
from harness.measure.cores import share_of

POLL_SECONDS = 0.05
GRACE_SECONDS = 5.0  # for the others, once one has ended early: they may have more to say


def run_ranks(planned: Planned, store: Store, settings: Settings, stop: Callable[[], bool]) -> Record | None:
    """The run's record, written to the store; None when it was stopped and left a checkpoint.

    Raises NodeError when a process died, or the machine is to blame: there is no record then.
    """
    folder = store.paths(planned.id).folder
    folder.mkdir(parents=True, exist_ok=True)
    _forget_outcomes(folder)
    with _started(planned, store, settings) as ranks:
        died = _watch(ranks, stop)
        # one that was asked to end may be killed before it has: that is no trouble, the last checkpoint stands
        record = None if died and stop() else _record(folder, [rank.code() for rank in ranks], died)
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
    command, nodes, paths = rank_command(planned, store, settings), given_nodes(), store.paths(planned.id)
    ranks: list[Rank] = []
    try:
        for environment in environments(settings.processes, nodes):
            node = [None, *nodes.others][int(environment["GROUP_RANK"])]
            ranks.append(_start(command, environment, nodes, node, paths))
        yield ranks
    except BaseException:
        for rank in ranks:
            rank.ask()
        for rank in ranks:
            rank.process.wait()
        raise
    finally:
        for rank in ranks:
            rank.kill()
        for rank in ranks:
            rank.process.communicate()


def _start(
    command: Sequence[str], environment: dict[str, str], nodes: Nodes, node: str | None, paths: RunPaths
) -> Rank:
    """In a session of its own: Ctrl-C is for the parent, which asks all of them. Other nodes have logs of their own."""

    def start(command: Sequence[str], log: IO[bytes] | None = None) -> Rank:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
        )
        return Rank(process, node)

    if node is None:
        return start(command)
    with paths.log_of(node).open("ab") as log:
        return start([*nodes.others[node], *command], log)


def environments(count: int, nodes: Nodes = HERE) -> list[dict[str, str]]:
    """As torchrun's, of `count` processes, node by node; those of a node share out the threads of this process."""
    threads = int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))
    each = count // nodes.count
    shared = {
        **os.environ,
        "MASTER_ADDR": nodes.address,
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(each),
        "OMP_NUM_THREADS": str(max(1, threads // each)),
        "TOKENIZERS_PARALLELISM": "false",
    }
    return [
        {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank % each), "GROUP_RANK": str(rank // each)}
        | share_of(rank % each, each)
        for rank in range(count)
    ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _watch(ranks: Sequence[Rank], stop: Callable[[], bool]) -> str | None:
    """Until all have ended; what one died of by itself. None outlives for long another that ended early."""
    asked, died = False, None
    until: float | None = None
    while None in (codes := [rank.code() for rank in ranks]):
        if stop() and not asked:
            asked = True
            for rank in ranks:
                rank.ask()
        if until is None and any(code not in (None, 0, STOPPED) for code in codes):
            until, died = time.monotonic() + GRACE_SECONDS, _death(ranks)
        if until is not None and time.monotonic() > until:
            for rank in ranks:
                rank.kill()
        time.sleep(POLL_SECONDS)
    return died or (None if until else _death(ranks))


def _death(ranks: Sequence[Rank]) -> str | None:
    """`process 1 of 2 died of SIGKILL`, or `… on node n2 died of …`."""
    for number, rank in enumerate(ranks):
        if (code := rank.code()) is not None and code < 0:
            where = f" on node {rank.node}" if rank.node else ""
            return f"process {number} of {len(ranks)}{where} died of {signal_name(-code)}"
    return None


def _record(folder: Path, codes: Sequence[int | None], died: str | None) -> Record | None:
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
