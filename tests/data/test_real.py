"""The hub's real data, from the tree that PEFTLAB_MIRROR names: sizes, labels, splits; every row encodes."""

import os
import re
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from harness.cli.show import as_text, described
from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.data.load import Encoder, load_data
from harness.data.source import find_source
from harness.ledger.seeds import Seeds
from harness.ledger.store import Store
from harness.models.load import load_model
from harness.planning.plan import plan_one, read_request
from harness.tasks.build import build
from harness.training.run import run_one
from tests.parts import part_of
from tests.redone import redone

pytestmark = pytest.mark.skipif(
    not os.environ.get("PEFTLAB_MIRROR"), reason="PEFTLAB_MIRROR names no tree of real data"
)

RESOLVER = Resolver()
# dataset: a model that can read it, rows of train + validation, rows of test
REAL = {
    "cola": ("roberta_base", 8_551, 1_043),
    "mrpc": ("roberta_base", 4_076, 1_725),
    "trec50": ("gpt2_small", 5_452, 500),
    "folio": ("tinyllama", 1_004, 204),
    "openbookqa": ("tinyllama", 4_957, 500),
    "openbookqa_choice": ("tinyllama", 4_957, 500),
    "e2e": ("gpt2_small", 4_672, 4_693),
    "django": ("deepseek_coder_1_3b", 17_000, 1_805),
    "cifar10": ("vit_tiny", 5_000, 1_000),
    "stsb": ("roberta_base", 5_749, 1_500),
    "rte": ("roberta_base", 2_490, 277),
    "paws": ("roberta_base", 8_000, 8_000),
    "paws_choice": ("tinyllama", 8_000, 8_000),
    "arc_easy": ("tinyllama", 2_251, 2_376),
    "boolq": ("tinyllama", 1_491, 2_817),
    "piqa": ("gpt2_small", 908, 930),
    "clutrr": ("tinyllama", 3_019, 1_048),
    "logiqa": ("tinyllama", 1_569, 1_572),
}
CANDIDATES = ("openbookqa_choice", "paws_choice", "arc_easy", "boolq", "piqa")  # of LoRA-Squeeze
METHODS = (
    "full",
    "lora",
    "lora_plus",
    "cola",
    "rac",
    "cla",
    "c3la",
    "r_c3la",
    "paca",
    "lora",
    "cla",
    "lora",
    "cla",
    "lora",
)


def spec_of(name: str):
    return part_of(RESOLVER, "dataset", (f"dataset={name}",)).spec


def loaded(name: str, model: str, seed: int, cache):
    spec = part_of(RESOLVER, "dataset", (f"dataset={name}",)).spec
    model_ = load_model(
        part_of(RESOLVER, "model", (f"model={model}", "model.size=tiny")).spec, spec.task, Seeds(seed), cache
    )
    task = build(spec, model_)
    return load_data(spec, Encoder(task.encode, task.length, model_.processor_key), cache), task, model_


@pytest.mark.long
@pytest.mark.parametrize("name", REAL)
def test_real_data_load_whole_and_the_splits_do_not_depend_on_the_seed(peftlab_cache, name):
    model, seen, tested = REAL[name]
    data, task, model_ = loaded(name, model, 0, peftlab_cache)
    assert (len(data.train) + len(data.validation), len(data.test)) == (seen, tested)
    other, _, _ = loaded(name, model, 1, peftlab_cache)
    assert other.facts == data.facts
    ids = [{data_[i]["id"] for i in range(len(data_))} for data_ in (data.train, data.validation, data.test)]
    assert sum(map(len, ids)) == len(set.union(*ids)) == seen + tested
    losses = task.losses(model_.model, task.collate([data.train[i] for i in range(4)], None))
    assert losses.shape == (4,) and bool((losses > 0).all())


MOST = 250  # rows of test that a tiny model is asked; the data are read whole above


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "method"), zip((name for name in REAL if name not in CANDIDATES[1:]), METHODS, strict=True)
)
def test_a_tiny_model_trains_on_real_data_and_its_scores_follow_from_its_predictions(
    tmp_path, peftlab_cache, name, method
):
    model, few = f"model={REAL[name][0]}", f"dataset.split.limit={{train: 64, validation: 64, test: {MOST}}}"
    words = [f"method={method}", model, "size=tiny", f"dataset={name}", few, "recipe=tiny", "tracker=none"]
    words += ["device=cpu", "recipe.evaluations=1", f"runs={tmp_path}", f"cache={peftlab_cache}"]
    request = read_request(words)
    planned, store = plan_one(request, RESOLVER), Store(tmp_path)
    record = run_one(planned, store, settings_from(request.config))
    assert record.status == "done", record.failure
    rows = pq.read_table(store.paths(planned.id).predictions).to_pydict()
    again = redone(rows, positive=(planned.spec["dataset"]["task"].get("labels") or ("",))[-1])
    found = {metric: quantity.value for metric, quantity in record.scores["test"].items()}
    assert found == pytest.approx({metric: again[metric] for metric in found}, abs=1e-6, rel=1e-5)
    assert len(set(rows["id"])) == min(REAL[name][2], MOST)


@pytest.mark.long
@pytest.mark.parametrize("name", CANDIDATES)
def test_a_run_on_some_real_rows_of_a_candidate_task_scores_them(tmp_path, peftlab_cache, name):
    few = "dataset.split.limit={train: 32, validation: 16, test: 24}"
    words = ["method=lora", f"model={REAL[name][0]}", "size=tiny", f"dataset={name}", "recipe=tiny", few]
    request = read_request([*words, "tracker=none", "device=cpu", f"runs={tmp_path}", f"cache={peftlab_cache}"])
    planned, store = plan_one(request, RESOLVER), Store(tmp_path)
    record = run_one(planned, store, settings_from(request.config))
    assert record.status == "done", record.failure
    rows = pq.read_table(store.paths(planned.id).predictions).to_pydict()
    assert len(rows["id"]) == 24 and {*rows["target"], *rows["prediction"]} <= {
        *planned.spec["dataset"]["task"]["labels"]
    }
    assert record.scores["test"]["accuracy"].value == pytest.approx(redone(rows)["accuracy"], abs=1e-6)


def test_boolq_and_piqa_guess_the_larger_answer_of_the_whole_official_dev_of_which_parts_are_here():
    yes = re.search(r"largest class: .*test yes ([\d.]+)%", as_text(described(spec_of("boolq"))))[1]
    assert float(yes) / 100 == pytest.approx(spec_of("boolq").chance, abs=0.01)  # 2,817 of 3,270 dev rows are here
    spec = spec_of("piqa")
    tables, _ = find_source(spec).read()  # both parts of the mirror are the official dev
    labels = [label for table in tables.values() for label in table["label"].to_pylist()]
    assert len(labels) == spec.about["rows"]["validation"]
    assert sum(map(int, labels)) / len(labels) == pytest.approx(spec.chance, abs=0.001)


class Knows(nn.Module):
    """Says the token that comes `ahead` places later, with near certainty."""

    def __init__(self, ahead: int) -> None:
        super().__init__()
        self.ahead = ahead

    def forward(self, input_ids, attention_mask):
        known = torch.roll(input_ids, -self.ahead, dims=1)
        return SimpleNamespace(logits=torch.zeros(*known.shape, 2048).scatter_(2, known[..., None], 40.0))


@pytest.mark.long
def test_a_perfect_predictor_of_django_is_right_everywhere_and_an_echo_nowhere(peftlab_cache):
    data, task, _ = loaded("django", "deepseek_coder_1_3b", 0, peftlab_cache)
    batches = [task.collate(data.test[i : i + 64], None) for i in range(0, len(data.test), 64)]
    perfect, echo = (task.score([p for batch in batches for p in task.predict(Knows(a), batch)]) for a in (1, 0))
    assert (perfect["token_accuracy"].value, perfect["exact_match"].value) == (1.0, 1.0)
    assert perfect["perplexity"].value == pytest.approx(1.0, abs=1e-6)
    assert echo["token_accuracy"].value < 0.02 and echo["exact_match"].value == 0.0  # study, trap 7: it scored 1.0


@pytest.mark.parametrize(
    "name",
    ["mrpc", "trec50", "folio", "openbookqa", "cifar10", "rte", "paws", "paws_choice", "arc_easy", "clutrr", "logiqa"],
)
def test_the_chance_level_of_a_card_is_what_a_constant_guess_scores(name):
    spec = part_of(RESOLVER, "dataset", (f"dataset={name}",)).spec
    text = as_text(described(spec))
    known = spec.chance if spec.constant_guess is None else spec.constant_guess
    share = re.search(r"largest class: .*test \S+ ([\d.]+)%", text)[1]
    assert float(share) / 100 == pytest.approx(known, abs=0.001) and "\nchance: " not in text


@pytest.mark.parametrize("name", ["openbookqa", "django", "e2e_generation", "folio", "trec50"])
def test_show_prints_three_examples_with_their_answers(name):
    text = as_text(described(part_of(RESOLVER, "dataset", (f"dataset={name}",)).spec))
    assert len(re.findall(r"^── train:", text, re.MULTILINE)) == 3
    assert text.count("→") >= 3
    if name == "openbookqa":
        assert all(text.count(f"\n{letter}) ") == 3 for letter in "ABCD")
