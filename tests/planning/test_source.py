"""A cell that starts from a run: how a request says it, which id it has, and where the plan lists the source."""

import pytest

from harness.config.resolve import Resolver
from harness.ledger.errors import PlanError, SpecError
from harness.ledger.identity import run_id
from harness.ledger.parse import parse
from harness.ledger.plan import lineage, plan_to_json, read_plan, write_plan
from harness.ledger.spec import RunSpec
from harness.planning.plan import plan_one, plan_sweep, read_request
from methods.spec import LowRank

SQUEEZE = """
name: squeeze
seeds: [0, 1]
grids:
  - method: [rac_b]
    method.update.rank: [1, 2, 4]
    zip:
      - {model: vit_micro, dataset: digits, recipe: quick_image}
      - {model: minilm, dataset: stdlib_docs, recipe: quick_text}
    source.method: [lora]
    source.method.update.rank: [64]
"""


@pytest.fixture(autouse=True)
def starts_from_run(monkeypatch):
    monkeypatch.setattr(LowRank, "starts_from_run", True, raising=False)


@pytest.fixture
def squeeze(tmp_path, monkeypatch):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "squeeze.yaml").write_text(SQUEEZE)
    monkeypatch.setenv("PEFTLAB_CONF", str(tmp_path))
    yield


def one(*words):
    return plan_one(read_request(words), Resolver())


def sweep(*words):
    return plan_sweep(read_request(words), Resolver())


def test_one_source_serves_every_rank_of_its_model_dataset_and_seed(squeeze):
    plan = sweep("sweep=squeeze")
    sources = [run for run in plan.runs if run.source is None]
    assert len(plan.runs) == 4 + 12 and len(sources) == 4
    by_id = {run.id: run.spec for run in sources}
    for run in (run for run in plan.runs if run.source):
        source = by_id[run.source]
        assert plan.ids.index(run.source) < plan.ids.index(run.id)
        assert run.spec["source"] == source and source["method"]["update"]["rank"] == 64
        assert all(source[axis] == run.spec[axis] for axis in ("model", "dataset", "recipe", "seed"))


def test_the_source_is_the_run_that_is_asked_for_alone():
    target = one("method=lora", "seed=3", "source.method=lora", "source.method.update.rank=64")
    assert target.source == one("method=lora", "seed=3", "method.update.rank=64").id
    assert [run.id for run in lineage(target)] == [target.source, target.id]


def test_the_id_holds_the_source_and_is_that_of_the_parsed_spec():
    plain = one("method=lora")
    targets = [one("method=lora", "source.method=lora", f"source.method.update.rank={rank}") for rank in (32, 64)]
    assert len({plain.id, *(target.id for target in targets)}) == 3
    for planned in (plain, *targets):
        assert run_id(parse(RunSpec, planned.spec, "run")) == planned.id
    assert "source" not in plain.spec, "a run without a source is written as ever, and has its old id"


def test_what_is_said_of_the_source_alone_is_its_own():
    target = one("method=lora", "recipe.max_steps=9", "source.method=cla", "source.recipe.max_steps=7")
    assert (target.spec["recipe"]["max_steps"], target.spec["source"]["recipe"]["max_steps"]) == (9, 7)
    same = one("method=lora", "recipe.max_steps=9", "source.method=cla")
    assert same.spec["source"]["recipe"]["max_steps"] == 9


def test_a_source_may_have_a_source():
    planned = one("method=lora", "source.method=lora", "source.source.method=cla")
    assert [run.spec["method"]["name"] for run in lineage(planned)] == ["cla", "lora", "lora"]
    plan = sweep("method=lora", "seed=0,1", "source.method=lora", "source.source.method=cla")
    assert len(plan.runs) == 6 and plan.runs[-1].spec["source"]["source"]["method"]["name"] == "cla"


def test_a_plan_keeps_sources_through_its_file_and_stores_each_part_once(squeeze, tmp_path):
    plan = sweep("sweep=squeeze")
    write_plan(tmp_path, plan)
    assert read_plan(tmp_path, "squeeze") == plan
    assert len(plan_to_json(plan)["parts"]["method"]) == 4


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["source.method.update.rank=4"], "source.method=NAME must be given"),
        (["source.method=lroa"], "method: unknown choice 'lroa'"),
        (["source.seed=1"], "source.seed: unknown key. A source run has a method, model, dataset and recipe"),
        (["source.metod=lora"], "source.metod: unknown key"),
        (["source.method=lora", "source.method.update.rnak=4"], "rnak"),
    ],
)
def test_a_wrong_word_is_a_sentence(words, says):
    with pytest.raises((SpecError, PlanError)) as caught:
        one("method=lora", *words)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_method_that_would_pass_over_its_source_is_refused():
    with pytest.raises(PlanError, match="cla starts from the pretrained model; a source run would change nothing"):
        one("method=cla", "source.method=lora")


def test_a_cell_whose_source_cannot_be_is_left_out_with_the_reason():
    with pytest.raises(PlanError, match=r"its source run cannot be: minilm .* cannot do digits"):
        one("method=lora", "source.method=lora", "source.model=minilm")
