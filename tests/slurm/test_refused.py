"""What a sweep refuses before anything is submitted, what a job refuses to run, and what is said when all failed."""

from pathlib import Path

import pytest
import yaml

from harness.ledger.errors import PlanError
from harness.ledger.plan import write_plan
from harness.ledger.store import Store
from slurm import launch
from slurm.job import Job
from slurm.packing import limit_minutes
from slurm.sandbox import sleepy
from slurm.snapshot import WrongCode, check, snapshot
from slurm.submission import submissions
from tests.slurm.test_commands import CARD, sweep
from tests.slurm.test_packing import cluster


def test_a_warning_near_the_time_limit_is_refused_and_an_estimated_limit_leaves_room_for_it(fake, tmp_path):
    fake()
    with pytest.raises(PlanError, match=r"cluster.warn_seconds: 290 .*At most 150"):
        sweep(tmp_path, sleepy.plan(1), limit_minutes=5, warn_seconds=290)
    assert sweep(tmp_path, sleepy.plan(1), limit_minutes=5, warn_seconds=150).runs == 1
    assert limit_minutes(1.0, cluster(warn_seconds=3000)) == 100


def test_a_store_whose_path_python_cannot_import_from_is_refused(fake, tmp_path):
    fake()
    with pytest.raises(PlanError, match="must hold no ':'"):
        sweep(tmp_path / "a:b", sleepy.plan(1))
    assert not list(submissions(tmp_path / "a:b"))


@pytest.mark.parametrize("damage", ["another checkout", "altered", "gone"])
def test_a_job_that_would_run_other_code_says_so_and_leaves_no_record(fake, tmp_path, damage, monkeypatch):
    fake()
    plan, store = sleepy.plan(1), Store(tmp_path)
    sweep(tmp_path, plan)
    submission = next(submissions(tmp_path))
    home = Path(submission.snapshot)
    if damage != "another checkout":
        monkeypatch.setattr("slurm.snapshot.ROOT", home)
        check(home)
    if damage == "altered":
        (home / "harness/__init__.py").unlink()
    if damage == "gone":
        home.rename(tmp_path / "elsewhere")
    with pytest.raises(WrongCode, match="the code that was submitted"):
        Job(str(tmp_path), submission.name, plan.ids)()
    assert store.status(plan.ids[0]) == "absent"


def test_a_snapshot_that_a_purge_has_halved_is_made_anew(tmp_path):
    home = snapshot(tmp_path)
    (home / "slurm/job.py").unlink()
    assert snapshot(tmp_path) == home and (home / "slurm/job.py").is_file()
    assert len(list(home.parent.glob(".*.damaged"))) == 1


def failing(runs, count, **recipe):
    """A store with runs that were done, or failed."""
    plan, store = sleepy.plan(count, **recipe), Store(runs)
    write_plan(runs, plan)
    for run in plan.runs:
        store.paths(run.id).folder.mkdir(parents=True)
        sleepy.run(run, store, None, lambda: False)
    return plan, store


@pytest.mark.parametrize("recipe, code", [({"fail": "diverged"}, 1), ({}, 0)])
def test_a_sweep_whose_runs_have_all_failed_ends_with_1_and_their_list(
    fake, tmp_path, capsys, monkeypatch, recipe, code
):
    fake()
    monkeypatch.setattr(launch, "settings_to_plain", lambda settings: None)
    plan, store = failing(tmp_path, 25, **recipe)
    assert launch.launch(plan, store, None, yaml.safe_load(CARD.read_text())) == code
    words = capsys.readouterr().err
    assert words.count("failed 00000") == (20 if code else 0)
    assert ("and 5 more" in words, "peftlab report" in words) == (bool(code), not code)
