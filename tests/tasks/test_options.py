"""Choices with as many options as each row has, as in ARC: none is dropped, and padding changes nothing."""

import pytest
import torch

from harness.config.resolve import Resolver
from harness.ledger.errors import DataError
from harness.ledger.seeds import Seeds
from harness.models.load import load_model
from harness.tasks.build import build
from tests.data.cards import card
from tests.parts import part_of

TASK = {
    "kind": "choice", "prompt": {"before": "", "context": "", "after": "{question}", "cut": "right"},
    "candidates": [" {option}"], "options": "choices.text", "label": "key", "labels": ["A", "B", "C", "D", "E"],
    "aliases": {"1": "A"}, "max_length": 64,
}  # fmt: skip
ROWS = [
    {"question": "Water is", "choices": {"text": ["wet", "dry", "a kind of stone"]}, "key": "C"},
    {"question": "The sun", "choices": {"text": ["is cold", "shines", "sings", "walks", "is a river"]}, "key": "E"},
    {"question": "Two", "choices": {"text": ["one", "two", "three", "four"]}, "key": "B"},
]  # fmt: skip


@pytest.fixture(scope="module")
def task_and_model(peftlab_cache):
    spec = card("nowhere", TASK)
    model = part_of(Resolver(), "model", ("model=gpt2_small", "model.size=tiny")).spec
    loaded = load_model(model, spec.task, Seeds(0), peftlab_cache)
    return build(spec, loaded), loaded


def batch_of(task, rows):
    return task.collate([{"id": str(i), **task.encode(row)} for i, row in enumerate(rows)], None)


def test_every_option_of_a_row_is_read_and_rows_of_other_numbers_change_nothing(task_and_model):
    task, loaded = task_and_model
    with torch.no_grad():
        together = task.predict(loaded.model, batch_of(task, ROWS))
        alone = [task.predict(loaded.model, batch_of(task, [row]))[0] for row in ROWS]
        losses = task.losses(loaded.model, batch_of(task, ROWS))
    assert [p.target for p in together] == ["C", "E", "B"]
    assert [p.prediction for p in together] == [p.prediction for p in alone]
    assert [p.loss for p in together] == pytest.approx([p.loss for p in alone], rel=1e-5)
    assert losses.tolist() == pytest.approx([p.loss for p in together], rel=1e-5)


def test_the_likelihoods_are_those_of_a_dense_computation_in_float64(task_and_model):
    task, loaded = task_and_model
    for row in ROWS:
        means = []
        for option in row["choices"]["text"]:
            prompt = loaded.processor(row["question"]).input_ids
            answer = loaded.processor(f" {option}", add_special_tokens=False).input_ids
            with torch.no_grad():
                logs = loaded.model(input_ids=torch.tensor([prompt + answer])).logits[0].double().log_softmax(-1)
            means.append(logs[range(len(prompt) - 1, len(prompt + answer) - 1), answer].mean())
        wanted = -torch.stack(means).log_softmax(0)["ABCDE".index(row["key"])]
        with torch.no_grad():
            assert float(task.losses(loaded.model, batch_of(task, [row]))[0]) == pytest.approx(float(wanted), rel=1e-4)


def test_gradients_are_finite_where_an_example_has_fewer_options(task_and_model):
    task, loaded = task_and_model
    task.losses(loaded.model, batch_of(task, ROWS)).sum().backward()
    assert all(p.grad.isfinite().all() for p in loaded.model.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"key": "D"}, "the label is D, number 4 of 3 options"),
        ({"choices": {"text": ["one"]}}, "must be a list of 2 to 5 options"),
        ({"choices": {"text": list("abcdef")}}, "must be a list of 2 to 5 options"),
        ({"choices": {"text": "wet"}}, "must be a list of 2 to 5 options"),
        ({"choices": {"text": ["wet", None, "dry"]}}, "is null"),
    ],
)
def test_a_row_whose_options_do_not_fit_is_an_error(task_and_model, change, sentence):
    with pytest.raises(DataError, match=sentence):
        task_and_model[0].encode(ROWS[0] | change)


def test_a_card_that_reads_fewer_options_than_a_row_has_is_an_error_and_never_drops_one(task_and_model):
    _, loaded = task_and_model
    four = [f" {{choices[text][{i}]}}" for i in range(4)]
    task = build(card("nowhere", TASK | {"candidates": four, "options": None, "labels": list("ABCD")}), loaded)
    assert len(task.encode(ROWS[2])["sizes"]) == 4
    for row in ROWS[:2]:
        with pytest.raises(DataError, match=r"options and the card 4 candidates; .*give options"):
            task.encode(row | {"key": "A"})
    with pytest.raises(DataError, match="candidates is one template"):
        build(card("nowhere", TASK | {"candidates": four}), loaded)
