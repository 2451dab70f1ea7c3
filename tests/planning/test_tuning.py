"""Equal tuning: validation chooses, the grid's edge is said, and the recipe holds one rate per method."""

import pytest
import yaml

from harness.config.resolve import Resolver
from harness.ledger.errors import RecordError
from harness.ledger.plan import Plan
from harness.ledger.quantity import Measured
from harness.ledger.record import Failure, Record
from harness.ledger.store import Store
from harness.planning.plan import plan_one, plan_sweep, read_request
from harness.planning.tuning import choose, finish, write_recipe
from tests.rewrite import rewrite

SCORES = {  # validation by method and rate; the test scores written beside them say the opposite
    "lora": {1e-4: 0.70, 1e-3: 0.90, 1e-2: 0.80},
    "full": {1e-4: 0.95, 1e-3: 0.90, 1e-2: None},
}


@pytest.fixture
def tuned(tmp_path):
    """A tuning sweep whose records are written by hand."""
    words = ["method=lora,full", "recipe.lr=1e-4,1e-3,1e-2", "seed=100,101"]
    found = plan_sweep(read_request(words), Resolver())
    plan = Plan("tune_x", found.runs, (), {"tune": {"into": "tuned_x", "base": "quick_image"}})
    store = Store(tmp_path / "runs")
    for run in plan.runs:
        value = SCORES[run.choices["method"]][run.spec["recipe"]["lr"]]
        store.paths(run.id).folder.mkdir(parents=True)
        store.write(_record(run, value))
    return plan, store


def _record(run, value) -> Record:
    done = value is not None
    chosen = {"step": 9, "epoch": 1.0, "metric": "accuracy"}
    return Record(
        schema=1, id=run.id, spec=run.spec, status="done" if done else "failed",
        failure=None if done else Failure("diverged", "train", 3, "the loss is nan"),
        selected=chosen | {"value": value + 0.01 * (run.choices["seed"] - 100)} if done else {},
        scores={"test": {"accuracy": Measured(1 - value, "share", 10)}} if done else {},
        seconds={"train": Measured(2.0, "s")}, speed={}, memory={}, ledger={}, work={}, parameters={}, curve=(),
        data={}, links=(), provenance={},
    )  # fmt: skip


def test_validation_chooses_and_test_scores_are_not_looked_at(tuned):
    found = {choice.method: choice for choice in choose(*tuned)}
    assert found["lora"].value == 1e-3 and found["lora"].score == pytest.approx(0.905)
    assert found["full"].value == 1e-4


def test_the_edge_the_failures_and_the_cost_are_said(tuned):
    found = {choice.method: choice for choice in choose(*tuned)}
    assert not found["lora"].edge and found["full"].edge
    assert found["full"].failed == 2 and 1e-2 not in found["full"].scores
    assert found["lora"].seconds == 12.0


def test_the_recipe_gives_each_method_its_own_rate(tuned, tmp_path, monkeypatch):
    path = write_recipe(tuned[0], choose(*tuned), tmp_path / "conf")
    assert yaml.safe_load(path.read_text())["about"]["at_the_edge"] == ["full"]
    monkeypatch.setenv("PEFTLAB_CONF", str(tmp_path / "conf"))
    rates = {
        m: plan_one(read_request([f"method={m}", "recipe=tuned_x"]), Resolver()).spec["recipe"]
        for m in ("lora", "full")
    }
    assert rates["lora"]["lr"] == rates["lora"]["head_lr"] == 1e-3 and rates["full"]["lr"] == 1e-4


def test_a_run_with_the_tuned_recipe_learns_at_the_rates_of_the_chosen_runs_head_included(tmp_path, monkeypatch):
    words = ["method=lora,head", "recipe=quick_image", "recipe.lr=1e-4,1e-3,1e-2", "recipe.head_lr=5e-3", "seed=100"]
    found = plan_sweep(read_request(words), Resolver())
    plan = Plan("tune_x", found.runs, (), {"tune": {"into": "tuned_x", "base": "quick_image"}})
    store = Store(tmp_path / "runs")
    for run in plan.runs:
        store.paths(run.id).folder.mkdir(parents=True)
        best = run.choices["method"] == "lora" and run.spec["recipe"]["lr"] == 1e-3
        rewrite(store.root, _record(run, 0.9 if best else 0.8))
    lora, head = choose(plan, store)
    assert (lora.flat, head.flat, head.edge) == (False, True, False)
    write_recipe(plan, [lora, head], tmp_path / "conf")
    monkeypatch.setenv("PEFTLAB_CONF", str(tmp_path / "conf"))
    tuned = plan_one(read_request(["method=lora", "recipe=tuned_x"]), Resolver()).spec["recipe"]
    chosen = next(run.spec["recipe"] for run in plan.runs if run.spec["recipe"]["lr"] == 1e-3)
    ours = {"name", "about"}
    assert {k: v for k, v in tuned.items() if k not in ours} == {k: v for k, v in chosen.items() if k not in ours}


def test_an_unfinished_sweep_chooses_nothing(tuned):
    plan, store = tuned
    store.paths(plan.ids[0]).record.unlink()
    with pytest.raises(RecordError, match="1 of 12 runs have no record"):
        choose(plan, store)


def test_the_end_of_the_sweep_prints_the_warning_and_the_recipe(tuned, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PEFTLAB_CONF", str(tmp_path / "conf"))
    finish(*tuned)
    said = capsys.readouterr().out
    assert (tmp_path / "conf" / "recipe" / "tuned_x.yaml").is_file()
    assert "full: the best value, 0.0001, is at the edge of the grid" in said
    assert "full: 2 runs failed" in said and "recipe=tuned_x holds these rates" in said
