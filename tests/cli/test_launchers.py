"""Launchers by the kind of a cluster card: the built-in ones, somebody else's, and those that are none."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from harness.__main__ import main
from harness.cli.arguments import call
from harness.cli.launchers import BUILT_IN, GROUP, kinds_used, launcher_for, launcher_of, queue_of
from harness.config.settings import settings_from
from harness.execution.jobs import note_launcher
from harness.execution.launcher import NAMES, Launcher
from harness.ledger.errors import PlanError, SpecError
from harness.ledger.plan import Plan, write_plan
from harness.ledger.store import Store
from harness.planning.plan import read_request
from slurm.sandbox import sleepy
from tests.growing import shown_source

REPOSITORY = Path(__file__).resolve().parents[2]
SWEEP = ["model=vit_micro", "dataset=digits", "method=head,cla", "seed=0,1,2", "tracker=none", "cluster=mine"]
POINTS = "spool = spool\nabsent = no_such_module\nhalf = spool:SpoolCluster\nbroken = broken\n"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


@pytest.fixture
def spool(tmp_path, monkeypatch):
    """The package that CONTRIBUTING.md shows, in a folder on the path, with its card as cluster=mine."""
    (tmp_path / "spool.py").write_text(shown_source("spool.py"), encoding="utf-8")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    facts = tmp_path / "others-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[{GROUP}]\n{POINTS}local = spool\n")
    (tmp_path / "conf" / "cluster").mkdir(parents=True)
    (tmp_path / "conf" / "cluster" / "mine.yaml").write_text(
        "kind: spool\nname: mine\nruns_per_job: 4\nabout: {label: Mine, source: a test}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PEFTLAB_CONF", str(tmp_path / "conf"))
    yield tmp_path
    for name in ("spool", "broken"):
        sys.modules.pop(name, None)


def ask(capsys, verb, store, *words):
    assert call(verb, [*words, "--json", "--runs", str(store.root)]) == 0
    return json.loads(capsys.readouterr().out)


def test_both_launchers_have_every_name_and_are_declared_by_the_package():
    assert set(NAMES) == {"name", "waits"} | {name for name in vars(Launcher) if name[0] != "_"}
    for kind in BUILT_IN:
        assert all(hasattr(launcher_for(kind), name) for name in NAMES)
    declared = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["entry-points"][GROUP]
    assert declared == BUILT_IN


def test_a_launcher_of_another_package_serves_sweep_status_cancel_and_doctor(spool, store, tmp_path, capsys):
    folders = [f"runs={store.root}", f"cache={tmp_path / 'cache'}"]
    assert main(["sweep", *SWEEP, *folders]) == 0
    jobs = [json.loads(file.read_text()) for file in sorted((store.root / "jobs" / "spool").glob("*.json"))]
    assert sorted(len(job["ids"]) for job in jobs) == [2, 4] and "Report" not in capsys.readouterr().out
    assert main(["sweep", *SWEEP, *folders]) == 0, "what waits is not submitted again"
    assert len(list((store.root / "jobs" / "spool").iterdir())) == 2

    (sweep,) = ask(capsys, "status", store)
    assert sweep["counts"]["pending"] == 6 and sweep["scheduler_answers"]
    assert {run["why"] for run in sweep["runs"]} == {"waits"}

    assert main(["doctor", *SWEEP, *folders, "--json"]) in (0, 1)
    lines = {line["what"]: line for line in json.loads(capsys.readouterr().out)}
    assert lines["spool"]["said"] == "a folder of the store"
    assert "no_such_module" in lines["launcher absent"]["said"] and lines["launcher absent"]["ok"] is None

    cancelled = ask(capsys, "cancel", store)
    assert len(cancelled["jobs"]) == 2 and cancelled["processes"] == []
    assert ask(capsys, "status", store)[0]["counts"]["missing"] == 6


def test_the_command_of_a_shown_job_does_its_runs(spool, store, tmp_path):
    """With a runner that needs no model: the launcher's file is what another machine would take."""
    plan = sleepy.plan(2)
    write_plan(store.root, plan)
    config = read_request([f"runs={store.root}", f"cache={tmp_path / 'cache'}", "cluster=mine"]).config
    assert launcher_for("spool").launch(plan, store, settings_from(config, plan.name), config["cluster"]) == 0
    (file,) = (store.root / "jobs" / "spool").glob("*.json")
    command = json.loads(file.read_text())["command"]
    command[command.index("--runner") + 1] = "slurm.sandbox.sleepy:run"
    subprocess.run(command, check=True, capture_output=True, cwd=REPOSITORY, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert [store.status(run_id) for run_id in plan.ids] == ["done", "done"]


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("slrum", r"no launcher 'slrum'. Did you mean 'slurm'\? Known: absent, broken, half, local, slurm, spool."),
        (
            "absent",
            r"'absent' \(no_such_module\) cannot be imported: No module named 'no_such_module'.*Others:.* slurm",
        ),
        ("broken", r"'broken' \(broken\) cannot be imported: division by zero"),
        ("half", r"'half' \(spool:SpoolCluster\) lacks name, waits, launch"),
    ],
)
def test_what_is_no_launcher_is_one_sentence(spool, kind, sentence):
    with pytest.raises(SpecError, match=sentence):
        launcher_for(kind)


@pytest.mark.parametrize("kind", ["../evil", "a/b", "..", "two words", "Spool", "-x"])
def test_a_launcher_whose_name_is_no_file_name_is_refused_and_nothing_leaves_the_store(spool, store, capsys, kind):
    points = spool / "others-1.0.dist-info" / "entry_points.txt"
    points.write_text(f"[{GROUP}]\n{kind} = spool\n")
    assert main(["sweep", *SWEEP, f"runs={store.root}", f"cluster.kind='{kind}'"]) == 2
    sentence = capsys.readouterr().err
    assert f"'{kind}'" in sentence and "small letters" in sentence and sentence.count("\n") == 1
    assert not store.root.exists() and not (store.root.parent / "evil").exists()


def test_a_card_without_a_kind_is_one_sentence_and_nothing_is_planned(spool, store, capsys):
    with pytest.raises(SpecError, match="no launcher 'None'"):
        launcher_of({"name": "mine"})
    assert main(["sweep", *SWEEP, f"runs={store.root}", "cluster.kind=slrum"]) == 2
    assert "no launcher 'slrum'" in capsys.readouterr().err
    assert not store.root.exists()


def test_a_package_cannot_take_the_name_of_a_built_in_launcher(spool):
    assert launcher_for("local").__name__ == "harness.execution.local"


def test_a_store_asks_the_launchers_that_were_used_for_it_and_no_others(store):
    assert kinds_used(store.root) == []
    note_launcher(store.root, "mine")
    note_launcher(store.root, "mine")
    assert kinds_used(store.root) == ["mine"]
    (store.root / "jobs" / "peftlab-x").mkdir()
    (store.root / "jobs" / "peftlab-x" / "submission.json").write_text("{}")
    assert kinds_used(store.root) == ["mine", "slurm"], "of a store from before launchers were noted"


def test_a_launcher_whose_package_is_gone_is_named_and_the_rest_is_shown(store, capsys):
    plan = sleepy.plan(2)
    write_plan(store.root, plan)
    note_launcher(store.root, "gone")
    (silence,) = queue_of(store.root).silent
    assert "no launcher 'gone'" in silence
    assert call("status", ["--runs", str(store.root)]) == 0
    assert "no launcher 'gone'" in " ".join(capsys.readouterr().out.split())
    store.paths(plan.ids[0]).folder.mkdir()
    store.paths(plan.ids[0]).log.write_text("a line\n")
    assert call("logs", [plan.ids[0], "--runs", str(store.root)]) == 0
    assert "a line" in capsys.readouterr().out
    with pytest.raises(PlanError, match="gone"):
        call("cancel", ["--runs", str(store.root)])


def test_a_launcher_that_cannot_cancel_leaves_the_jobs_of_the_others_cancelled(tmp_path, monkeypatch, capsys):
    class Silent:
        def cancel(self, store, sweep, ids):
            raise PlanError("squeue does not answer; try again.")

    class Working:
        def cancel(self, store, sweep, ids):
            return ("17",)

    monkeypatch.setattr("harness.cli.control.launchers_used", lambda runs: ([Silent(), Working()], []))
    write_plan(tmp_path, Plan("tiny", (), (), {}))
    assert main(["cancel", "tiny", "--runs", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert "cancelled 1 jobs" in printed.out and "squeue does not answer" in printed.err
