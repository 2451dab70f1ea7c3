"""`sweep --dry-run`: what it shows is what is then submitted, and it leaves nothing behind."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml

from harness.__main__ import main
from harness.config.settings import settings_from
from harness.ledger.errors import PlanError
from harness.ledger.parse import parse
from harness.ledger.plan import write_plan
from harness.ledger.store import Store
from harness.planning.plan import read_request
from slurm.cluster_spec import SlurmCluster
from slurm.dry_run import dry_run
from slurm.launch import start
from slurm.sandbox import sleepy
from slurm.submission import submissions
from tests.slurm.fake import calls

CARD = Path(__file__).resolve().parents[2] / "conf/cluster/slurm.yaml"
KEEPS = "cp $1 ${0%/*}/script.$(wc -l < $0.calls); echo Submitted batch job 12"
DRAWN = re.compile(r"peftlab-(NAME|sleepy-\w+)|snapshots/\w+")


def card(**changes) -> SlurmCluster:
    return replace(parse(SlurmCluster, yaml.safe_load(CARD.read_text()), "cluster"), run_minutes=30.0, **changes)


@pytest.fixture
def shown(tmp_path):
    """The dry run of a plan, with the store."""
    settings = settings_from(read_request([f"runs={tmp_path / 'runs'}", "tracker=none", "device=cpu"]).config)
    return lambda plan, **changes: dry_run(plan, Store(settings.runs), settings, asdict(card(**changes)))


@pytest.mark.parametrize("changes", [{"max_pack": 2}, {"max_pack": 1, "concurrency": 2, "partition": "gpu", "gpus": 1}])
def test_the_jobs_and_the_script_are_those_that_are_submitted(fake, tmp_path, shown, changes):
    folder, plan = fake(sbatch=KEEPS), sleepy.plan(5)
    dry = shown(plan, **changes)
    assert calls(folder, "sbatch") == 0 and not (tmp_path / "runs").exists()
    write_plan(tmp_path / "runs", plan)
    launched = start(plan, Store(tmp_path / "runs"), card(**changes), None)
    assert sum(row["jobs"] for row in dry.jobs) == launched.jobs and sum(row["runs"] for row in dry.jobs) == 5
    assert len(dry.jobs) == len(launched.arrays) == len(list(submissions(tmp_path / "runs")))
    assert DRAWN.sub("", dry.script) == DRAWN.sub("", (folder / "script.1").read_text())
    (limit,) = re.findall(r"--time=(\d+)", dry.script)
    assert dry.jobs[0]["time limit"] == f"{limit} min"


def test_runs_in_live_jobs_and_jobs_over_the_limit_are_said(fake, tmp_path, shown):
    fake()
    plan, runs = sleepy.plan(6), tmp_path / "runs"
    write_plan(runs, plan)
    start(replace(plan, runs=plan.runs[:2]), Store(runs), card(), None)
    name = next(submissions(runs)).name
    fake(squeue=f"echo '{name}|12|N/A|RUNNING|n1|None'")
    dry = shown(plan, max_pack=1, submit_limit=3)
    assert "2 are in live jobs, 4 would be done by 4 jobs" in dry.said[0]
    assert "2 jobs do not fit under submit_limit now" in dry.said and dry.jobs[0]["jobs"] == 2


def test_without_slurm_it_is_shown_too_and_says_that_the_queue_is_not_known(fake, shown):
    fake(squeue="exit 1", scontrol="exit 1")
    dry = shown(sleepy.plan(3))
    assert "SLURM does not answer here: its queue is taken for empty" in dry.said and "#SBATCH" in dry.script


def test_what_could_not_be_submitted_is_refused(fake, shown):
    fake()
    with pytest.raises(PlanError, match=r"cluster\.warn_seconds"):
        shown(sleepy.plan(3), limit_minutes=1)


def test_a_sweep_that_is_only_shown_writes_no_plan_and_starts_nothing(tmp_path, capsys):
    words = ["sweep", "model=vit_micro", "dataset=digits", "method=head,lora", "cluster.processes=1"]
    words.append(f"runs={tmp_path}")
    assert main([*words, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "2 of 2 runs to do, 1 at a time" in said and "Nothing was submitted." in said
    assert main([*words, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["jobs"] == []
    assert list(tmp_path.iterdir()) == []
