"""The parent of a run's processes: what it makes of how they end. The processes are stand-ins that compute nothing."""

import json
import sys

import pytest

from harness.cli.control import logs_of
from harness.config.settings import Settings
from harness.execution import ranks
from harness.execution.gpus import pin, sharers
from harness.execution.nodes import Nodes
from harness.execution.ranks import environments, outcome_file, run_ranks
from harness.ledger.errors import NodeError
from harness.ledger.plan import Planned
from harness.ledger.record import Failure, Record, failure_record, record_to_json
from harness.ledger.store import Store
from harness.measure.cores import SHARE

RUN = Planned("0" * 16, {}, {})
DONE = Record(3, RUN.id, {}, "done", None, {}, {}, {}, {}, {}, {}, {}, {}, (), {}, (), {})
OOM = failure_record(RUN.id, {}, Failure("oom", "train", 3, "no memory"), "it failed")
BEGIN = """
import os, signal, sys, time
from pathlib import Path
rank = os.environ["RANK"]
def leave(text):
    Path(sys.argv[1], f"outcome.{rank}.json").write_text(text)
"""


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """What `run_ranks` makes of two processes of a script, and the store."""
    monkeypatch.setattr(ranks, "GRACE_SECONDS", 0.5)
    store = Store(tmp_path / "runs")
    settings = Settings(tmp_path / "runs", tmp_path, tmp_path, "cpu", "none", 60, None, parallel="ddp", processes=2)

    def go(script, stop=lambda: False):
        command = [sys.executable, "-S", "-c", BEGIN + script, str(store.paths(RUN.id).folder)]
        monkeypatch.setattr(ranks, "rank_command", lambda *given: command)
        return run_ranks(RUN, store, settings, stop)

    return go, store


def text_of(record):
    return repr(json.dumps(record_to_json(record)))


def test_the_record_of_the_first_process_is_published_and_the_checkpoint_goes(begin):
    go, store = begin
    store.paths(RUN.id).checkpoint.mkdir(parents=True)
    assert go(f"if rank == '0': leave({text_of(DONE)})") == DONE == store.read(RUN.id)
    assert {path.name for path in store.paths(RUN.id).folder.iterdir()} == {"record.json"}


def test_the_failure_of_one_process_is_the_runs_and_not_that_others_lost_it(begin):
    go, store = begin
    lost = 'leave(\'{"trouble": "lost"}\'); sys.exit(2)'
    assert go(f"if rank == '1': leave({text_of(OOM)}); sys.exit(1)\n{lost}").failure.kind == "oom"
    assert store.read(RUN.id).failure.message == "no memory"


def test_a_process_that_dies_ends_the_others_and_leaves_no_record(begin):
    go, store = begin
    with pytest.raises(NodeError, match="process 1 of 2 died of SIGKILL; the same command takes the run up again"):
        go("if rank == '1': os.kill(os.getpid(), 9)\ntime.sleep(1000)")
    assert store.status(RUN.id) == "unfinished"


def test_trouble_of_the_machine_is_said_and_leaves_no_record(begin):
    go, store = begin
    with pytest.raises(NodeError, match="disk is full; the same command"):
        go('leave(\'{"trouble": "disk is full"}\'); sys.exit(2)')
    with pytest.raises(NodeError, match="exit codes 1, 1, see peftlab logs"):
        go("sys.exit(1)")
    assert store.status(RUN.id) == "unfinished"


def test_a_request_to_stop_reaches_every_process(begin):
    go, store = begin
    script = 'signal.signal(signal.SIGUSR2, lambda *_: sys.exit(75)); leave(\'{"trouble": "none"}\'); time.sleep(1000)'
    folder = store.paths(RUN.id).folder
    assert go(script, stop=lambda: all(outcome_file(folder, rank).exists() for rank in (0, 1))) is None


def test_one_that_is_killed_once_it_was_asked_to_end_is_no_trouble_of_the_machine(begin):
    go, store = begin
    leave = 'leave(\'{"trouble": "none"}\'); time.sleep(1000)'  # SIGUSR2 kills it
    folder = store.paths(RUN.id).folder
    assert go(leave, stop=lambda: all(outcome_file(folder, rank).exists() for rank in (0, 1))) is None


@pytest.fixture
def two_nodes(monkeypatch):
    """A worker whose launcher gives it a second node, n2: a shell on this machine."""
    shell = ("sh", "-c", 'ON=n2 "$@"; exit $?', "sh")
    for name, value in Nodes("127.0.0.1", {"n2": shell}).environment().items():
        monkeypatch.setenv(name, value)


def test_a_process_of_another_node_is_started_by_its_command_and_has_a_log_of_its_own(begin, two_nodes):
    go, store = begin
    script = f"""
print(rank, os.environ.get("ON"), os.environ["GROUP_RANK"], os.environ["LOCAL_WORLD_SIZE"])
if rank == "0": leave({text_of(DONE)})
"""
    assert go(script) == DONE
    assert store.paths(RUN.id).log_of("n2").read_text() == "1 n2 1 1\n"
    assert [path.name for path in logs_of(store, RUN.id)] == ["run.n2.log"]


def test_the_death_of_a_process_of_another_node_names_the_node(begin, two_nodes):
    go, store = begin
    with pytest.raises(NodeError, match="process 1 of 2 on node n2 died of SIGKILL; the same command"):
        go("if rank == '1': os.kill(os.getpid(), 9)\ntime.sleep(1000)")
    assert store.status(RUN.id) == "unfinished"


def test_the_threads_of_a_node_are_shared_out_among_its_processes(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    four = environments(4, Nodes("10.0.0.1", {"n2": ()}))
    assert [(each["RANK"], each["LOCAL_RANK"], each["GROUP_RANK"]) for each in four] == [
        ("0", "0", "0"),
        ("1", "1", "0"),
        ("2", "0", "1"),
        ("3", "1", "1"),
    ]
    assert {(each["OMP_NUM_THREADS"], each["MASTER_ADDR"]) for each in four} == {("4", "10.0.0.1")}
    assert [each[SHARE] for each in four] == ["0/2", "1/2"] * 2


def test_processes_share_out_threads_and_gpus(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    first, second = environments(2)
    assert (first["RANK"], second["RANK"], second["WORLD_SIZE"], second["OMP_NUM_THREADS"]) == ("0", "1", "2", "4")
    assert first["MASTER_PORT"] == second["MASTER_PORT"]
    four = ["a", "b", "c", "d"]
    assert [pin(worker, four, 2)["CUDA_VISIBLE_DEVICES"] for worker in range(3)] == ["a,b", "c,d", "a,b"]
    assert sharers(2, four, 2) == 1 and sharers(4, ["a", "b"]) == 2
