"""A store and a configuration folder that the first version made stay readable, and mean the same runs, for ever.

tests/store_v1 is what that version wrote, cut short: events lost their middle, host names and paths were taken out.
quickstart_ids.json has all scores of its quickstart; that version's code, given the ViT that is in the project now,
came to `score_of_shipped_base`. `python -m tests.same_scores runs` holds a finished quickstart against them.
"""

import json
import shutil
from pathlib import Path

import pytest

from harness.__main__ import main
from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.ledger.identity import run_id
from harness.ledger.parse import parse
from harness.ledger.plan import read_plan
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store
from harness.planning.plan import plan_one, plan_sweep, read_request
from harness.training.run import run_one

OLD = Path(__file__).parents[1] / "store_v1"
IDS = sorted(path.name for path in (OLD / "runs").iterdir() if path.name != "plans")
FIRST_LOSS = {"cla": 0.81050, "full": 0.86545, "head": 1.22821, "lora": 0.82178}  # of seed 0, in its first two epochs
QUICKSTART = json.loads((OLD / "quickstart_ids.json").read_bytes())


@pytest.fixture
def runs(tmp_path):
    return shutil.copytree(OLD / "runs", tmp_path / "runs")


@pytest.fixture
def own_conf(monkeypatch):
    monkeypatch.setenv("PEFTLAB_CONF", str(OLD / "conf"))
    yield


@pytest.mark.parametrize("run", IDS)
def test_the_spec_of_an_old_run_gives_its_id(run):
    assert run_id(parse(RunSpec, json.loads((OLD / "runs" / run / "spec.json").read_bytes()), "run")) == run


def test_every_old_record_is_read_and_its_spec_is_the_one_beside_it():
    store = Store(OLD / "runs")
    for record in (store.read(run) for run in IDS):
        assert record.spec == json.loads(store.paths(record.id).spec.read_bytes())
        assert (record.status == "failed") == (record.failure is not None)
    failure = store.read("54775a3c88e66797").failure
    assert failure is not None and failure.kind == "data" and "unknown label 'cherry'" in failure.message


def test_status_counts_what_is_there(runs, capsys):
    assert main(["status", "--json", "--runs", str(runs)]) == 0
    counts = {each["sweep"]: each["counts"] for each in json.loads(capsys.readouterr().out)}
    assert (counts["quickstart"]["done"], counts["quickstart"]["missing"]) == (6, 30)
    assert [counts["fruit"][stage] for stage in ("done", "failed", "missing")] == [2, 1, 3]


@pytest.mark.parametrize(("sweep", "holes"), [("quickstart", "30 of 36"), ("fruit", "3 of 6")])
def test_report_makes_a_page_of_it(runs, sweep, holes, tmp_path, capsys):
    words = [sweep, "--runs", str(runs), "--out", str(tmp_path), "--partial", "--allow-mixed", "--json"]
    assert main(["report", *words]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert Path(answer["report"]).is_file()
    assert f"{holes} planned runs have no readable record" in Path(answer["report"]).read_text()


def test_an_old_adapter_is_exported(runs, tmp_path, peftlab_cache, capsys):
    where = [f"runs={runs}", f"cache={peftlab_cache}"]
    assert main(["export", "43f095a70a568b32", str(tmp_path / "cla"), *where]) == 0
    assert json.loads((tmp_path / "cla" / "adapter_config.json").read_bytes())["r"] == 16
    assert not (tmp_path / "cla" / "base_model").exists(), "the ViT of that store was pretrained on another machine"
    assert "sha256:734ecfac3b8ad1fb, which is no longer" in (tmp_path / "cla" / "README.md").read_text()
    assert main(["merge", "43f095a70a568b32", str(tmp_path / "merged"), *where]) == 2
    assert "the update is of other weights" in capsys.readouterr().err
    for run, says in (("58e0039b85a7e5b2", "kept no weights"), ("54775a3c88e66797", "failed (")):
        assert main(["export", run, str(tmp_path / run), *where]) == 2
        assert says in capsys.readouterr().err


def test_the_yaml_folder_of_a_user_plans_the_same_ids(own_conf):
    plan = plan_sweep(read_request(["sweep=fruit"]), Resolver())
    assert plan.ids == read_plan(OLD / "runs", "fruit").ids
    assert plan.digest == read_plan(OLD / "runs", "fruit").digest


def test_the_quickstart_sweep_plans_the_same_36_ids():
    plan = plan_sweep(read_request(["sweep=quickstart"]), Resolver())
    assert sorted(plan.ids) == sorted(row["id"] for row in QUICKSTART)
    assert len(plan.ids) == 36
    assert plan.digest == read_plan(OLD / "runs", "quickstart").digest


@pytest.mark.slow
@pytest.mark.parametrize(
    "row", [r for r in QUICKSTART if r["model"] == "vit_micro" and r["seed"] == 0], ids=lambda row: row["method"]
)
def test_a_run_done_again_is_the_run_it_was(row, tmp_path, peftlab_cache):
    words = [f"{axis}={row[axis]}" for axis in ("method", "model", "dataset", "seed")]
    words += ["recipe=quick_image", "tracker=none", "device=cpu", f"runs={tmp_path}", f"cache={peftlab_cache}"]
    request = read_request(words)
    planned, settings = plan_one(request, Resolver()), settings_from(request.config)
    assert planned.id == row["id"]
    now, then = run_one(planned, Store(settings.runs), settings), Store(OLD / "runs").read(row["id"])
    assert now.data["splits"] == then.data["splits"]
    for counted in ("parameters", "work"):
        assert getattr(now, counted) == getattr(then, counted)
    assert now.scores["test"][row["metric"]].n == row["n"]
    first, once = now.curve[0], then.curve[0]
    assert (first.step, first.epoch, first.lr) == (once.step, once.epoch, once.lr)
    # The old store's ViT was pretrained on the machine it was made on; these are of the weights in the project. Kernels
    # of other CPUs (SSE4.1, AVX2, AVX-512; 1 and 2 threads) moved the loss by 1e-5 of itself, and no score.
    assert first.train_loss == pytest.approx(FIRST_LOSS[row["method"]], rel=1e-3)
    assert now.scores["test"]["accuracy"].value == pytest.approx(row["score_of_shipped_base"], abs=2 / 224)
