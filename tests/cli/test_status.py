"""What `peftlab status`, `retry`, `cancel` and `logs` say and do, on real stores; SLURM's part is in tests/slurm."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.cli import status
from harness.cli.arguments import call
from harness.execution.jobs import LiveJob, Queue
from harness.execution.lease import claim
from harness.execution.sweep_state import survey
from harness.ledger.errors import PlanError, RecordError, SpecError
from harness.ledger.plan import Plan, Planned, Skipped, write_plan
from harness.ledger.progress import progress
from harness.ledger.store import Store
from slurm.sandbox import sleepy

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


def run_here(plan, store, ids=None):
    for run in plan.runs:
        if ids is None or run.id in ids:
            store.paths(run.id).folder.mkdir(parents=True, exist_ok=True)
            sleepy.run(run, store, None, lambda: False)


def start_worker(store, plan):
    write_plan(store.root, plan)
    command = [sys.executable, "-m", "harness.execution.worker", "--runs", str(store.root), "--plan", plan.name]
    return subprocess.Popen(
        [*command, "--runner", "slurm.sandbox.sleepy:run"], cwd=REPOSITORY, stdout=subprocess.DEVNULL
    )


def until(ready):
    end = time.monotonic() + 200  # a machine that stands still for a while fails no test
    while not ready():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def answer(capsys, verb, *argv):
    assert call(verb, [*argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_stage_a_run_can_be_in_is_told_apart(store):
    plan = sleepy.plan(6)
    run_here(plan, store, plan.ids[:1])
    failing = sleepy.plan(2, fail="diverged")
    run_here(failing, store, failing.ids[1:2])
    assert claim(store.paths(plan.ids[2]).folder) is not None  # held by this very process
    store.paths(plan.ids[3]).folder.mkdir()
    job = LiveJob("sleepy", "7_0", "PENDING", "", "Priority", (plan.ids[0], plan.ids[4]))
    rows = survey(plan, store, Queue((job,))).rows
    assert [row.stage for row in rows] == ["done", "failed", "running", "stopped", "pending", "missing"]
    assert rows[1].why == "diverged" and rows[4].why == "Priority" and "process" in rows[2].where


def test_a_silent_scheduler_is_said(store, capsys, monkeypatch):
    plan = sleepy.plan(1)
    write_plan(store.root, plan)
    silence = Queue((), ("SLURM does not answer",))
    seen = survey(plan, store, silence)
    assert not seen.scheduler_answers and seen.rows[0].stage == "missing"
    monkeypatch.setattr(status, "queue_of", lambda runs: silence)
    call("status", ["--runs", str(store.root)])
    assert "SLURM does not answer" in capsys.readouterr().out


def test_progress_is_read_from_the_end_of_a_long_file(tmp_path):
    events = tmp_path / "events.jsonl"
    lines = [{"t": 1000.0, "event": "start", "step": 0, "total": 9000}]
    lines += [{"t": 1000.0 + step * 0.5, "event": "step", "step": step} for step in range(1, 4001)]
    events.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"t": 99')
    found = progress(events)
    assert (found.step, found.total) == (4000, 9000)
    assert found.seconds_left == pytest.approx(2500)


def test_the_pace_of_a_run_that_was_started_again_leaves_out_the_time_in_the_queue(tmp_path):
    lines = [{"t": float(step), "event": "step", "step": step, "total": 10} for step in (1, 2, 3)]
    lines += [{"t": 9000.0, "event": "resume", "step": 2, "total": 10}]
    lines += [{"t": 9000.0 + step, "event": "step", "step": step, "total": 10} for step in (3, 4, 5)]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert progress(tmp_path / "events.jsonl").seconds_left == pytest.approx(5)


def test_a_run_without_steps_has_no_progress(tmp_path):
    assert progress(tmp_path / "none") is None
    (tmp_path / "events.jsonl").write_text('{"t": 1, "event": "start", "step": 0, "total": 5}\n')
    assert progress(tmp_path / "events.jsonl") is None


def test_the_page_names_failures_skipped_cells_and_running_runs(store, capsys):
    parts = {"method": "lora", "model": "tiny", "dataset": "toy"}
    sleepy_plan = sleepy.plan(2, fail="oom")
    runs = tuple(Planned(run.id, parts | {"seed": i}, run.spec) for i, run in enumerate(sleepy_plan.runs))
    plan = Plan("shown", runs, (Skipped(parts | {"method": "full"}, "needs 90 GB"),), {})
    write_plan(store.root, plan)
    run_here(sleepy_plan, store, plan.ids[:1])
    claim(store.paths(plan.ids[1]).folder)
    assert call("status", ["sweep=shown", f"runs={store.root}"]) == 0
    page = " ".join(capsys.readouterr().out.split())
    assert "shown: 1 running, 1 failed, 1 cells skipped" in page
    assert "1✗oom" in page and "asked to fail" in page and "skipped (1): needs 90 GB" in page
    assert f"running {plan.ids[1]}" in page


def test_time_left_follows_the_pace_of_a_running_run(store, capsys):
    plan = sleepy.plan(1, steps=100)
    write_plan(store.root, plan)
    claim(store.paths(plan.ids[0]).folder)  # held by this very process
    told = [{"t": 1000 + 0.5 * step, "event": "step", "step": step, "total": 100} for step in range(1, 41)]
    store.paths(plan.ids[0]).events.write_text("".join(json.dumps(event) + "\n" for event in told))
    found = answer(capsys, "status", "--runs", str(store.root))
    assert found[0]["seconds_left"] == pytest.approx(30)


def test_ten_thousand_runs_are_told_with_one_look_at_each_record_and_without_torch(store):
    plan = sleepy.plan(10_000)
    write_plan(store.root, plan)
    run_here(plan, store, plan.ids[:1])
    record = store.paths(plan.ids[0]).record
    for run_id in plan.ids[1:9000]:
        store.paths(run_id).folder.mkdir()
        shutil.copyfile(record, store.paths(run_id).record)
    code = """import sys
from harness.__main__ import main
opened = []
sys.addaudithook(lambda event, words: event == "open" and opened.append(str(words[0])))
main(["status", *sys.argv[1:]])
records = [path for path in opened if path.endswith("record.json")]
print("opened", len(records), len(set(records)), len(opened), "torch" in sys.modules)
"""
    command = [sys.executable, "-c", code, "--runs", str(store.root)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert "9000 done, 1000 missing" in done.stdout, done.stderr
    records, different, opened, torch = done.stdout.split("opened ")[1].split()
    assert (different, torch) == ("10000", "False")  # the missing ones were looked for
    assert int(records) < 10_100  # some are read again for what the rest may take
    assert int(opened) - int(records) < 2000  # the modules that status needs, and no other file of each run


def test_retry_makes_failures_of_one_kind_missing_and_keeps_their_records(store, capsys):
    plan = sleepy.plan(3)
    for run_id, kind in zip(plan.ids, ("oom", "diverged", "oom"), strict=True):
        failing = sleepy.plan(3, fail=kind)
        run_here(failing, store, [run_id])
    write_plan(store.root, plan)
    found = answer(capsys, "retry", "sweep=sleepy", "--failed", "oom", "--runs", str(store.root))
    assert found["retried"] == [plan.ids[0], plan.ids[2]]
    assert [store.status(i) for i in plan.ids] == ["unfinished", "failed", "unfinished"]
    assert (store.paths(plan.ids[0]).folder / "record.failed.json").exists()
    with pytest.raises(SpecError, match="Did you mean 'oom'"):
        call("retry", ["--failed", "ooom", "--runs", str(store.root)])


def test_retry_of_what_is_done_says_what_is_a_new_run_and_how_to_do_it_again_all_the_same(store, capsys):
    plan = sleepy.plan(1)
    run_here(plan, store)
    write_plan(store.root, plan)
    assert call("retry", ["sleepy", "--runs", str(store.root)]) == 0
    said = capsys.readouterr().out
    assert "1 done, and it stays" in said and str(store.root / plan.ids[0]) in said
    assert store.status(plan.ids[0]) == "done"


def test_cancel_asks_local_workers_for_a_checkpoint(store, capsys):
    plan = sleepy.plan(1, steps=5, hold_at=2)
    worker = start_worker(store, plan)
    until(lambda: (store.paths(plan.ids[0]).checkpoint / "sleepy.json").exists())
    assert answer(capsys, "cancel", "--runs", str(store.root))["processes"] == [worker.pid]
    assert worker.wait(timeout=200) == 75
    assert store.status(plan.ids[0]) == "unfinished"


def test_logs_finds_a_run_by_a_prefix_and_names_what_is_wrong_with_one(store, capsys):
    plan = sleepy.plan(2)
    run_here(plan, store)
    store.paths(plan.ids[1]).log.write_text("one line\n")
    assert call("logs", [plan.ids[1], "--runs", str(store.root)]) == 0
    assert capsys.readouterr().out.endswith("one line\n"), "its events, then what it printed"
    with pytest.raises(RecordError, match="2 runs begin so"):
        call("logs", ["0000", "--runs", str(store.root)])
    with pytest.raises(RecordError, match="no run begins so"):
        call("logs", ["ffff", "--runs", str(store.root)])


def test_logs_tells_events_in_words_and_raw_with_json(store, capsys):
    plan = sleepy.plan(1)
    run_here(plan, store)
    events = store.paths(plan.ids[0]).events
    events.write_text(events.read_text() + "torn {\n")
    assert call("logs", [plan.ids[0], "--json", "--runs", str(store.root)]) == 0
    assert capsys.readouterr().out.startswith(events.read_text())
    assert call("logs", [plan.ids[0], "--runs", str(store.root)]) == 0
    said = capsys.readouterr().out
    assert "step 1 of 1" in said and '"step"' not in said and "torn {" in said


def test_a_store_without_a_sweep_is_one_sentence(tmp_path):
    with pytest.raises(PlanError, match="no sweep was planned"):
        call("status", ["--runs", str(tmp_path)])


def test_following_a_log_ends_with_the_run(store, capsys):
    plan = sleepy.plan(1, steps=10, seconds=0.05)
    worker = start_worker(store, plan)
    until(lambda: store.paths(plan.ids[0]).events.exists())
    assert call("logs", [plan.ids[0], "-f", "--runs", str(store.root)]) == 0
    assert "step 10 of 10" in capsys.readouterr().out
    assert worker.wait(timeout=200) == 0


GARBAGE = {
    "one bad byte": b'{"name": "\xff"}',
    "empty": b"",
    "a list": b"[]",
    "another shape": b'{"parts": 3, "runs": []}',
}


@pytest.mark.parametrize("content", [*GARBAGE.values(), None], ids=[*GARBAGE, "a folder"])
def test_a_plan_that_cannot_be_read_is_named_and_the_others_are_shown(store, capsys, content):
    write_plan(store.root, sleepy.plan(2))
    bad = store.root / "plans" / "bad.json"
    bad.mkdir() if content is None else bad.write_bytes(content)
    assert call("status", ["--runs", str(store.root), "--json"]) == 0
    output = capsys.readouterr()
    assert [sweep["sweep"] for sweep in json.loads(output.out)] == ["sleepy"]
    with pytest.raises(PlanError, match="bad"):
        call("status", ["--runs", str(store.root), "bad"])


def test_events_that_are_none_cost_nothing(tmp_path):
    events = tmp_path / "events.jsonl"
    whole = b'{"t": 1.0, "event": "step", "step": 1, "total": 9}\n{"t": 2.0, "event": "step", "step": 2, "total": 9}\n'
    events.write_bytes(b'\xff\n[]\n3\n{"t": "x", "event": "step"}\n{"t": 1, "event": "step", "step": "two"}\n' + whole)
    assert progress(events).step == 2 and progress(events).total == 9
    events.unlink()
    events.mkdir()
    assert progress(events) is None
