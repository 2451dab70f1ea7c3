"""Next-token tasks against models whose answers are known: a perfect predictor, an echo, and a dense computation."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from harness.config.resolve import Resolver
from harness.ledger.seeds import Seeds
from harness.models.load import load_model
from harness.tasks.build import build
from tests.parts import part_of

RESOLVER = Resolver()
ROWS = [
    {"nl": "import module sys.", "code": "import sys"},
    {"nl": "return the sum of a and b,", "code": "return a + b"},
    {"nl": "call the function f with arguments x and y, substitute the result for z.", "code": "z = f ( x , y )"},
]
QUESTIONS = [
    {
        "id": "1",
        "question_stem": "Water is",
        "choices": {"text": ["wet", "dry as dust", "a colour", "loud"]},
        "answerKey": "A",
    },
    {
        "id": "2",
        "question_stem": "A cat can",
        "choices": {"text": ["bark", "purr", "fly far away", "read"]},
        "answerKey": "B",
    },
]


class Knows(nn.Module):
    """Says token t + `ahead` of its input at place t, with near certainty."""

    def __init__(self, ahead: int, sure: float = 40.0) -> None:
        super().__init__()
        self.ahead, self.sure = ahead, sure

    def forward(self, input_ids, attention_mask):
        known = torch.roll(input_ids, -self.ahead, dims=1)
        return SimpleNamespace(logits=self.sure * nn.functional.one_hot(known, 2048).float())


def loaded(cache, model: str, dataset: str, *words: str):
    spec = part_of(RESOLVER, "dataset", (f"dataset={dataset}", *words)).spec
    card = part_of(RESOLVER, "model", (f"model={model}", "model.size=tiny")).spec
    model_ = load_model(card, spec.task, Seeds(0), cache)
    return model_, build(spec, model_)


def batch_of(task, rows):
    examples = [{"id": str(i), **task.encode(row)} for i, row in enumerate(rows)]
    return task.collate(examples, None), examples


def test_a_perfect_next_token_predictor_scores_one_and_perplexity_one(peftlab_cache):
    _, task = loaded(peftlab_cache, "deepseek_coder_1_3b", "django")
    batch, _ = batch_of(task, ROWS)
    scores = task.score(task.predict(Knows(1), batch))
    assert scores["token_accuracy"].value == 1.0
    assert scores["exact_match"].value == 1.0
    assert scores["perplexity"].value == pytest.approx(1.0)


def test_an_echo_of_the_input_is_no_perfect_predictor(peftlab_cache):
    _, task = loaded(peftlab_cache, "deepseek_coder_1_3b", "django")
    scores = task.score(task.predict(Knows(0), batch_of(task, ROWS)[0]))
    assert scores["token_accuracy"].value == 0.0 and scores["exact_match"].value == 0.0


def test_predictions_hold_the_target_as_text_and_only_the_target_weighs(peftlab_cache):
    model, task = loaded(peftlab_cache, "deepseek_coder_1_3b", "django")
    batch, examples = batch_of(task, ROWS)
    found = task.predict(Knows(1), batch)
    assert [p.target for p in found] == [row["code"] + "<|end|>" for row in ROWS]
    tokens = [len(model.processor(row["code"], add_special_tokens=False).input_ids) + 1 for row in ROWS]  # and the end
    assert [p.weight for p in found] == tokens and batch.weight == sum(tokens)
    assert batch.tokens == sum(len(example["input_ids"]) for example in examples)


@pytest.mark.parametrize("name", ["gpt2_small", "tinyllama"])
def test_losses_equal_a_dense_computation_without_padding_in_float64(peftlab_cache, name):
    model, task = loaded(peftlab_cache, name, "django")
    batch, examples = batch_of(task, ROWS)
    with torch.no_grad():
        ours = task.losses(model.model, batch)
        for example, loss in zip(examples, ours, strict=True):
            ids = torch.tensor([example["input_ids"]])
            logits = model.model(input_ids=ids).logits[0].double()
            start = example["prompt"]
            nll = -logits.log_softmax(-1)[range(start - 1, ids.shape[1] - 1), ids[0, start:]].sum()
            assert float(loss) == pytest.approx(float(nll), rel=1e-5)


def test_a_target_that_is_longer_than_the_room_loses_its_end_and_the_prompt_its_context(peftlab_cache):
    _, task = loaded(peftlab_cache, "gpt2_small", "django", "dataset.task.max_length=20")
    example = task.encode({"nl": "a description " * 20, "code": "value = call ( a , b ) + " * 20})
    assert len(example["input_ids"]) == 40 and example["shortened"] == 1
    assert task.encode(ROWS[0] | {"nl": "x"})["shortened"] == 0


def test_exact_match_of_teacher_forcing_is_that_of_greedy_decoding(peftlab_cache):
    """All tokens are right, given the true ones before them, exactly when greedy decoding writes the target."""
    spec = part_of(RESOLVER, "dataset", ("dataset=django",)).spec
    model, task = loaded(peftlab_cache, "gpt2_small", "django")
    optimizer = torch.optim.Adam(model.model.parameters(), lr=3e-3)
    batch, examples = batch_of(task, ROWS[:2])
    for _ in range(60):  # learn the two rows by heart
        optimizer.zero_grad()
        (task.losses(model.model, batch).sum() / batch.weight).backward()
        optimizer.step()
    assert spec.task.end
    with torch.no_grad():
        forced = task.predict(model.model, batch)
        for example, prediction, row in zip(examples, forced, ROWS, strict=False):
            prompt = torch.tensor([example["input_ids"][: example["prompt"]]])
            out = model.model.generate(prompt, max_new_tokens=30, do_sample=False, pad_token_id=0)
            text = model.processor.decode(out[0, prompt.shape[1] :], skip_special_tokens=True)
            assert (text == row["code"]) == (prediction.score == 1.0) and prediction.score == 1.0


def test_generation_writes_the_same_text_alone_and_in_a_padded_batch(peftlab_cache):
    words = ("dataset.task.max_length=400", "dataset.task.max_new_tokens=12")
    model, task = loaded(peftlab_cache, "tinyllama", "e2e_generation", *words)
    rows = [
        {"meaning_representation": "name[Aromi], area[city centre]", "human_reference": "Aromi is in the centre."},
        {"meaning_representation": "name[The Eagle], food[Thai], eatType[pub]", "human_reference": "Eat Thai food."},
    ]
    with torch.no_grad():
        together = task.predict(model.model, batch_of(task, rows)[0])
        alone = [task.predict(model.model, batch_of(task, [row])[0])[0] for row in rows]
    assert [p.prediction for p in together] == [p.prediction for p in alone]
    assert [p.target for p in together] == [row["human_reference"] for row in rows]
    assert [p.loss for p in together] == pytest.approx([p.loss for p in alone], rel=1e-4)


def test_choice_scores_candidates_by_mean_log_likelihood(peftlab_cache):
    model, task = loaded(peftlab_cache, "tinyllama", "openbookqa_choice")
    batch, _ = batch_of(task, QUESTIONS)
    with torch.no_grad():
        found = task.predict(model.model, batch)
        for row, prediction in zip(QUESTIONS, found, strict=True):
            prompt = model.processor(row["question_stem"]).input_ids
            means = []
            for text in row["choices"]["text"]:
                answer = model.processor(" " + text, add_special_tokens=False).input_ids
                logs = model.model(input_ids=torch.tensor([prompt + answer])).logits[0].double().log_softmax(-1)
                means.append(float(logs[range(len(prompt) - 1, len(prompt) + len(answer) - 1), answer].mean()))
            assert prediction.prediction == "ABCD"[means.index(max(means))]
            p = math.exp(means["ABCD".index(row["answerKey"])]) / sum(map(math.exp, means))
            assert prediction.score == pytest.approx(p, rel=1e-4) and prediction.loss == pytest.approx(
                -math.log(p), rel=1e-4
            )
        assert float(task.losses(model.model, batch).sum()) == pytest.approx(sum(p.loss for p in found), rel=1e-5)
