"""Real runs on a real SLURM: two fake nodes give the scores that a worker on this machine gives, bit for bit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.ledger.plan import read_plan, write_plan
from harness.ledger.store import Store
from slurm.submission import submissions

pytestmark = pytest.mark.slurm
REPOSITORY = Path(__file__).resolve().parents[2]
WORDS = ["sweep", "method=lora,cla", "model=vit_micro", "dataset=digits", "seed=range(2)"]
WORDS += ["recipe.max_steps=4", "recipe.evaluations=1", "tracker=none", "device=cpu"]
SLURM = ["cluster=slurm", "cluster.cpus=1", "cluster.memory_gb=[4]", "cluster.max_pack=2", "cluster.run_minutes=10"]


def python(*words):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # one thread, as cluster.cpus=1 gives
    done = subprocess.run([sys.executable, *words], cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def scores(store, ids):
    return {i: {name: quantity.value for name, quantity in store.read(i).scores["test"].items()} for i in ids}


@pytest.mark.slow
def test_a_sweep_on_slurm_has_the_scores_of_a_local_one(site, tmp_path, peftlab_cache):
    sweep = [*WORDS, *SLURM, f"runs={site.store.root}", f"cache={peftlab_cache}"]
    assert "4 submitted as 2 jobs" in python("-m", "harness", *sweep)
    submission = next(submissions(site.store.root))
    plan = read_plan(site.store.root, submission.plan)
    site.until(lambda: site.finished(plan) and site.idle(), "four records", 150)
    assert "4 have a record" in python("-m", "harness", *sweep), "issued again, it submits nothing"

    here = Store(tmp_path / "local")
    write_plan(here.root, plan)
    settings = json.dumps(dict(submission.settings) | {"runs": str(here.root)})
    python("-m", "harness.execution.worker", "--runs", str(here.root), "--plan", plan.name, "--settings", settings)
    assert scores(site.store, plan.ids) == scores(here, plan.ids)
