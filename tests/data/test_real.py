"""The hub's real data, from the tree that PEFTLAB_MIRROR names: sizes, labels, splits; every row encodes."""

import os
import re

import pytest

from harness.data.load import load_data
from harness.ledger.seeds import Seeds
from harness.models.load import load_model
from harness.resolve import Resolver
from harness.show import show
from harness.tasks.build import build

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
    "cifar10": ("vit_tiny", 5_000, 1_000),
}


def loaded(name: str, model: str, seed: int, cache):
    spec = RESOLVER.part("dataset", (f"dataset={name}",)).spec
    model_ = load_model(
        RESOLVER.part("model", (f"model={model}", "model.size=tiny")).spec, spec.task, Seeds(seed), cache
    )
    task = build(spec, model_)
    return load_data(spec, task, model_.processor_key, cache), task, model_


@pytest.mark.slow
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


@pytest.mark.parametrize("name", ["openbookqa", "django", "e2e_generation", "folio", "trec50"])
def test_show_prints_three_examples_with_their_answers(name):
    text = show(RESOLVER.part("dataset", (f"dataset={name}",)).spec)
    assert len(re.findall(r"^── train:", text, re.MULTILINE)) == 3
    assert text.count("→") >= 3
    if name == "openbookqa":
        assert all(text.count(f"\n{letter}) ") == 3 for letter in "ABCD")
