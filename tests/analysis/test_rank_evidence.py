"""How good recommended ranks were: by hand-written scores of seeds that no recommendation saw."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.rank_evidence import NONE, best_rank, evidence, quoted
from harness.__main__ import main
from harness.cli.recommend_rank import _widest
from harness.ledger.paths import RunPaths
from harness.ledger.plan import Plan, Planned, write_plan
from harness.ledger.quantity import Measured
from harness.ledger.side_record import SideRecord, write
from harness.ledger.store import Store

SCORES = {1: 0.80, 4: 0.90, 16: 0.901, 32: 0.70}  # of held seeds; seed 0, which the advice saw, likes 32


def accuracy(rank, seed):
    return 0.99 if (seed, rank) == (0, 32) else SCORES[rank] + 0.004 * (seed - 2)


def id_of(rank, seed):
    return hashlib.sha256(f"{rank}/{seed}".encode()).hexdigest()[:16]


@pytest.fixture
def store(study_records, tmp_path):
    planned, runs = [], Store(tmp_path)
    for rank in SCORES:
        for seed in range(4):
            plain = study_records("lora", "minilm", "mrpc", seed)
            method = plain.spec["method"] | {
                "update": plain.spec["method"]["update"] | {"rank": rank, "alpha": 2.0 * rank}
            }
            spec = plain.spec | {"method": method}
            loss = Measured(0.3 + 0.001 * rank + 0.1 * seed, "nats", 500)
            test = {"accuracy": Measured(accuracy(rank, seed), "", 500), "loss": loss}
            run_id = id_of(rank, seed)
            record = replace(plain, id=run_id, spec=spec, scores={**plain.scores, "test": test})
            choices = {"method": "lora", "model": "minilm", "dataset": "mrpc", "recipe": "default", "seed": seed}
            planned.append(Planned(run_id, choices | {"method.update.rank": rank}, spec))
            runs.paths(run_id).folder.mkdir(parents=True)
            runs.write(record)
    write_plan(tmp_path, Plan("rank_recommend", tuple(planned), (), {"title": "", "control": "lora", "margin": 1.0}))
    return tmp_path


def advise(runs: Path, **ranks):
    """A recommendation beside rank 32 of seed 0: each source's ranks of three weights."""
    run_id = id_of(32, 0)
    sites = [{"ranks": {name: values[i] for name, values in ranks.items()}} for i in range(3)]
    side = SideRecord("rank_advice", 1, run_id, {"energy": 0.9}, {"sites": sites}, {})
    write(RunPaths(runs / run_id), side)


def test_the_best_rank_is_the_smallest_within_a_standard_error_of_the_best():
    scores = pd.DataFrame({1: [80.0, 81, 82], 4: [89.5, 90, 91], 16: [89.0, 91, 92], 32: [70, 70, 70]})
    error = scores[16].std(ddof=1) / np.sqrt(3)
    assert scores[16].mean() - error < scores[4].mean() and best_rank(scores) == 4
    assert best_rank(scores.drop(columns=4)) == 16


def test_a_recommendation_is_judged_by_seeds_that_it_did_not_see(store):
    advise(store, gradient_s2=[3, 4, 9], pretrained_s=[64, 64, 64])
    data = evidence(store).set_index("source")
    assert (data["best"] == 4).all() and (data["n"] == 3).all(), "seed 0 would have said 32"
    near, far = data.loc["gradient_s2"], data.loc["pretrained_s"]
    assert (near["recommended"], near["doublings"], near["lost"]) == (4, 0, 0)
    assert (far["doublings"], far["lost"]) == (4, pytest.approx(20))
    text = " ".join(quoted(store))
    assert "pretrained_s: off the best rank by a median of 4.0 doublings" in text and "too few to trust" in text


def test_the_verb_quotes_the_evidence_of_its_store(store, tmp_path_factory, peftlab_cache, capsys):
    advise(store, gradient_s2=[3, 4, 9], pretrained_s=[64, 64, 64])
    where = (f"runs={store}", f"cache={peftlab_cache}", f"report={tmp_path_factory.mktemp('report')}")
    assert main(["recommend-rank", "model=vit_micro", *where]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(quoted(store)) == 2 and shown[-2:] == quoted(store) and NONE not in shown


def test_a_recommendation_of_a_sweep_is_made_from_the_widest_finished_run_of_the_first_seed(store):
    """Wider runs of later seeds are held, and one without a result has no adapter."""
    assert _widest("rank_recommend", Store(store)) == [id_of(32, 0)]
    shutil.rmtree(store / id_of(32, 0))
    assert _widest("rank_recommend", Store(store)) == [id_of(16, 0)]


def test_without_the_sweep_or_without_a_recommendation_there_is_none(store, tmp_path):
    assert quoted(tmp_path / "nothing") == [NONE] == quoted(store)
    advise(store, gradient_s2=[3, 4, 9])
    (side,) = next(store.glob("*/rank_advice")).glob("*.json")
    side.write_text("{")
    assert quoted(store) == [NONE], "a damaged side record is no evidence"
