"""Cells that do not fit the cluster's GPUs are skipped cells, with the sentence that says what would make them fit."""

import json

import pytest

from harness.__main__ import main
from harness.ledger.plan import Plan, Planned, read_plan
from harness.ledger.store import Store
from harness.planning.estimate import CostEstimate
from harness.planning.fit import Fit, Gpus
from harness.planning.possible import undone, without_impossible


def runs_of(method, seeds=(0, 1), sources=(None, None)):
    parts = {"method": method, "model": "m", "dataset": "d", "recipe": "r"}
    return [Planned(f"{method}{seed}", parts | {"seed": seed}, {}, s) for seed, s in zip(seeds, sources, strict=True)]


def cell(method, fit):
    choices = {"method": method, "model": "m", "dataset": "d", "recipe": "r"}
    return CostEstimate(choices, 2, {}, "", 0.0, None, None, "", fit)


PLAN = Plan("p", (*runs_of("full"), *runs_of("from_full", sources=("full0", "full1")), *runs_of("lora")), (), {})
NONE, ONE = Fit(None, 90.0, "it takes one GPU of 100 GB"), Fit(1, 9.0)


def test_a_cell_that_fits_no_number_of_gpus_is_left_out_with_what_starts_from_it():
    left = without_impossible(PLAN, [cell("full", NONE), cell("from_full", ONE), cell("lora", ONE)], Gpus(24, 1, None))
    assert left.ids == ("lora0", "lora1")
    why = "it does not fit: 90.0 GB where a GPU has 24 GB; it takes one GPU of 100 GB."
    assert [(each.choices["method"], each.why) for each in left.skipped] == [
        ("full", why), ("from_full", f"its source run cannot be: {why}"),
    ]  # fmt: skip
    assert all("seed" not in each.choices for each in left.skipped)


def test_what_fits_or_is_not_known_to_stays():
    assert without_impossible(PLAN, [cell("full", ONE), cell("lora", None)], Gpus(24, 1, None)) is PLAN


def test_a_cell_with_a_finished_run_is_not_judged(monkeypatch):
    monkeypatch.setattr(Store, "status", lambda store, run_id: "done" if run_id == "full1" else "absent")
    assert [run.choices["method"] for run in undone(PLAN, Store("x")).runs] == ["from_full"] * 2 + ["lora"] * 2


@pytest.fixture
def verb(tmp_path, peftlab_cache, capfd):
    """A verb on a model of half a megabyte; (exit code, stdout, stderr)."""
    base = ["model=vit_micro", "dataset=digits", "tracker=none", "device=cpu", f"runs={tmp_path / 'runs'}"]

    def issue(name, *words):
        folders = [f"report={tmp_path / 'report'}", f"cache={peftlab_cache}"]
        return main([name, *base, *folders, *words]), *capfd.readouterr()

    return issue


def test_plan_and_sweep_leave_it_out_and_go_on(verb, tmp_path, monkeypatch):
    monkeypatch.setattr("harness.cli.sweep._report", lambda *of: None)  # of skipped cells: tests/analysis
    words = ["method=full", "seed=0,1", "cluster.gpu_memory_gb=0.0001", "cluster.price_per_gpu_hour=2"]
    code, out, _ = verb("plan", *words)
    assert code == 0 and "0 runs" in out and "skipped: method=full" in out and "it takes one GPU of" in out
    code, out, err = verb("sweep", *words)
    assert code == 0 and "skipped: 1 cell: it does not fit" in err
    (name,) = (path.stem for path in (tmp_path / "runs" / "plans").glob("adhoc-*.json"))
    (skipped,) = read_plan(tmp_path / "runs", name).skipped
    assert skipped.choices["method"] == "full" and "where a GPU has 0.0001 GB" in skipped.why
    code, out, err = verb("sweep", "--dry-run", "--json", "cluster=slurm", *words)
    assert code == 0 and json.loads(out)["jobs"] == [] and "skipped: 1 cell" in err


def test_full_fine_tuning_of_packed_weights_is_one_skipped_cell_among_others(verb):
    words = ["method=full,cla", "model.quantization=nf4", "--no-estimate", "--json"]
    code, out, _ = verb("plan", *words)
    plan = json.loads(out)
    assert code == 0 and len(plan["runs"]) == 1 and "take a method that trains beside" in plan["skipped"][0][1]
