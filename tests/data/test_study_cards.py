"""The study as data: its models, datasets and sweeps are all there, and say what the study says."""

from pathlib import Path

import pytest
import yaml

from harness.config.compose import choices
from harness.config.resolve import Resolver
from harness.ledger.dataset_spec import BuiltinData, HubData
from harness.planning.plan import plan_sweep, read_request
from harness.tasks.scores import METRICS
from tests.parts import part_of

CONF = Path(__file__).resolve().parents[2] / "conf"
RESOLVER = Resolver()
ELEVEN = {"full", "lora", "lora_plus", "asym", "cola", "rac", "cla", "r_cla", "c3la", "r_c3la", "paca"}
FOURTEEN = {
    "office_home", "cifar10", "mrpc", "cola", "stsb", "rte", "trec50", "paws", "openbookqa", "folio", "logiqa",
    "clutrr", "django", "e2e",
}  # fmt: skip
# every row of the study's Tables 2 and 3 (§8), and RoBERTa-Base / CoLA of the teaser figure
PAIRS = {
    "vit_tiny": {"office_home", "cifar10"},
    "vit_base": {"office_home", "cifar10"},
    "deberta_v2_xxl": {"mrpc", "trec50", "paws"},
    "deberta_v3_base": {"mrpc", "stsb", "trec50", "paws"},
    "roberta_base": {"mrpc", "cola"},
    "roberta_large": {"mrpc", "cola"},
    "tinyllama": {"folio", "logiqa", "clutrr", "openbookqa"},
    "llama3_8b": {"openbookqa", "clutrr"},
    "gpt2_small": {"e2e"},
    "deepseek_coder_1_3b": {"django"},
}
TASKS = ("image_classification", "text_classification", "regression", "causal_lm", "generation", "choice")
DIRECTION = {"perplexity": "min", "loss": "min"}


def sweep(name: str) -> dict:
    return yaml.safe_load((CONF / "sweep" / f"{name}.yaml").read_text())


def pairs(name: str) -> list[tuple[str, str]]:
    return [(row["model"], row["dataset"]) for grid in sweep(name)["grids"] for row in grid["zip"]]


@pytest.mark.parametrize("name", choices("dataset"))
def test_every_dataset_card_is_whole_and_consistent(name):
    spec = part_of(RESOLVER, "dataset", (f"dataset={name}",)).spec
    assert spec.name == name
    assert spec.metric in spec.metrics and set(spec.metrics) <= set(METRICS)
    assert spec.direction == DIRECTION.get(spec.metric, "max")
    assert {"label", "licence", "source"} <= set(spec.about)
    labels = getattr(spec.task, "labels", ())
    assert len(set(labels)) == len(labels)
    assert set(getattr(spec.task, "aliases", {}).values()) <= set(labels)
    if spec.chance is not None and labels:
        assert spec.metric == "matthews" or 1 / len(labels) <= spec.chance + 0.001 < 1


def test_the_fourteen_datasets_come_from_the_hub_and_the_embedded_ones_need_none():
    kinds = {name: type(part_of(RESOLVER, "dataset", (f"dataset={name}",)).spec.source) for name in choices("dataset")}
    assert {name for name in FOURTEEN if kinds[name] is HubData} == FOURTEEN
    assert {name for name, kind in kinds.items() if kind is BuiltinData} >= {"digits", "stdlib_docs", "kinship"}


@pytest.mark.parametrize("name", choices("model"))
def test_every_model_card_says_its_label_licence_and_source(name):
    spec = part_of(RESOLVER, "model", (f"model={name}",)).spec
    assert spec.name == name and {"label", "licence", "source", "parameters"} <= set(spec.about)
    assert {"q", "v"} <= set(spec.targets)


def test_beyond_lora_has_every_pair_of_the_studys_tables_and_its_parts_are_the_whole():
    whole = pairs("beyond_lora")
    assert set(whole) == {(model, dataset) for model, found in PAIRS.items() for dataset in found}
    parts = [pair for part in ("vision", "text", "llm") for pair in pairs(f"beyond_lora_{part}")]
    assert sorted(parts) == sorted(whole) and len(set(whole)) == len(whole) == 23
    for name in ("beyond_lora", "beyond_lora_vision", "beyond_lora_text", "beyond_lora_llm"):
        assert sweep(name)["seeds"] == [12, 22, 32]
        assert all(set(grid["method"]) == ELEVEN for grid in sweep(name)["grids"])
        rules = [rule for rule in sweep(name)["set"] if rule["where"]["method"] == "lora_plus"]
        assert {rule["where"]["recipe"] for rule in rules} == {
            row["recipe"] for grid in sweep(name)["grids"] for row in grid["zip"]
        }


def test_lora_plus_puts_b_at_the_adapters_rate_and_its_head_too():
    recipes = {path.stem: yaml.safe_load(path.read_text()) for path in (CONF / "recipe").glob("study_*.yaml")}
    for rule in sweep("beyond_lora")["set"]:
        if rule["where"]["method"] == "lora_plus":
            adapter = float(recipes[rule["where"]["recipe"]]["lr"]["adapter"])
            assert float(rule["set"]["recipe.lr"]) * 16 == pytest.approx(adapter)
            assert float(rule["set"]["recipe.head_lr"]) == adapter


def test_the_tiny_sweep_plans_every_method_on_every_model_with_nothing_to_download():
    plan = plan_sweep(read_request(["sweep=beyond_lora_tiny"]), Resolver())
    assert not plan.skipped
    assert {(run.choices["model"], run.choices["method"]) for run in plan.runs} == {
        (m, x) for m in PAIRS for x in ELEVEN
    }
    assert {run.spec["model"]["size"] for run in plan.runs} == {"tiny"}
    assert {run.spec["dataset"]["source"]["kind"] for run in plan.runs} == {"builtin"}
    kinds = {run.spec["dataset"]["task"]["kind"] for run in plan.runs}
    assert kinds == {*TASKS}


def test_nothing_that_the_study_prints_is_left_out_of_its_sweep():
    words = ["sweep=beyond_lora_llm", "model=llama3_8b", "dataset=openbookqa", "method=full,cla"]
    plan = plan_sweep(read_request(words), Resolver())
    assert not plan.skipped  # Table 2 has full fine-tuning of it too; it needs several GPUs (docs/sharded.md)
    assert {run.choices["method"] for run in plan.runs} == {"full", "cla"} and len(plan.runs) == 6
