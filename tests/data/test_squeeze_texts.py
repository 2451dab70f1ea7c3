"""The 13 text tasks of LoRA-Squeeze: rows as the hub has them are read, split, encoded, learnt from and shown."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from harness.cli.show import as_text, described
from harness.config.resolve import Resolver
from harness.data.load import Encoder, load_data
from harness.ledger.dataset_spec import Choice
from harness.ledger.errors import DataError
from harness.ledger.seeds import Seeds
from harness.models.load import load_model
from harness.tasks.build import build
from tests.parts import part_of

RESOLVER = Resolver()
LETTERS = "ABCDE"


def arc(i: int) -> dict:
    count, numbers = (5, 3, 4)[i % 3], i % 2
    labels = [str(n + 1) for n in range(count)] if numbers else list(LETTERS[:count])
    choices = {"text": [f"answer {n} of {i}" for n in range(count)], "label": labels}
    return {"id": f"q-{i}", "question": f"Question {i}?", "choices": choices, "answerKey": labels[i % count]}


# card: the hub's columns (row i), its splits as (name, rows), the answer that `show` marks in row 1
HUB = {
    "winogrande_l": (
        lambda i: {
            "sentence": f"Ann gave Bea {i} books because _ liked them.", "option1": "Ann", "option2": "Bea",
            "answer": "12"[i % 2],
        },
        {"train": 40, "validation": 6}, [" Bea"],
    ),
    "boolq": (
        lambda i: {"question": f"is {i} even", "answer": i % 2 == 0, "passage": f"{i} is a number . It is whole ."},
        {"train": 40, "validation": 6}, [" no"],
    ),
    "piqa": (
        lambda i: {"goal": f"Open jar {i}", "sol1": "turn the lid", "sol2": "wait", "label": i % 2},
        {"train": 40, "validation": 6}, [" wait"],
    ),
    "drop": (
        lambda i: {
            "section_id": f"s{i // 2}", "query_id": f"q{i}", "passage": f"They scored {i} points.",
            "question": "How many points?",
            "answers_spans": {"spans": [str(i), f"{i} points"], "types": ["number", "span"]},
        },
        {"train": 40, "validation": 6}, [" 1"],
    ),
    "anli_r2": (
        lambda i: {
            "uid": f"u{i}", "premise": f"There are {i}.", "hypothesis": "There are some.", "label": i % 3, "reason": "",
        },
        {"train_r2": 12, "dev_r2": 6, "test_r2": 6}, [" undecided"],
    ),
    "paws_choice": (
        lambda i: {"id": i, "sentence1": f"A sees {i}.", "sentence2": f"{i} is seen by A.", "label": i % 2},
        {"train": 12, "validation": 6, "test": 6}, [" yes"],
    ),
    "hellaswag": (
        lambda i: {
            "ind": i, "activity_label": "Cooking", "ctx_a": f"Pan {i}.", "ctx_b": "she", "ctx": f"Pan {i}. she",
            "endings": [f"stirs {n}." for n in range(4)], "source_id": "a", "split": "train", "split_type": "indomain",
            "label": str(i % 4),
        },
        {"train": 40, "validation": 8}, [" stirs 1."],
    ),
    "openbookqa_choice": (
        lambda i: {
            "id": f"o{i}", "question_stem": f"The sun {i}", "answerKey": LETTERS[i % 4],
            "choices": {"text": ["is cold", "shines", "sings", "walks"], "label": list("ABCD")},
        },
        {"train": 12, "validation": 6, "test": 6}, [" shines"],
    ),
    "goemotions": (
        lambda i: {"text": f"Wow, {i}!", "labels": [[0, 17], [26, 13], [27]][i % 3], "id": f"e{i}"},
        {"train": 12, "validation": 6, "test": 6}, [" excitement", " surprise"],
    ),
    "arc_easy": (arc, {"train": 12, "validation": 6, "test": 9}, [" answer 1 of 1"]),
    "arc_challenge": (arc, {"train": 12, "validation": 6, "test": 9}, [" answer 1 of 1"]),
    "social_iqa": (
        lambda i: {
            "context": f"Tracy had {i} cats.", "question": "How would Tracy feel?", "answerA": "glad", "answerB": "sad",
            "answerC": "old", "label": "123"[i % 3],
        },
        {"train": 40, "validation": 6}, [" sad"],
    ),
    "mmlu": (
        lambda i: {"question": f"What is {i}?", "subject": "", "choices": ["a", "b", "both", "none"], "answer": i % 4},
        {"auxiliary_train": 12, "validation": 6, "test": 8}, [" B"],
    ),
}  # fmt: skip


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    monkeypatch.setenv("PEFTLAB_MIRROR", str(tmp_path / "mirror"))
    return tmp_path / "mirror"


def spec_of(name: str):
    return part_of(RESOLVER, "dataset", (f"dataset={name}",)).spec


def write(mirror, name: str, change=lambda row: row):
    spec, (row, splits, _) = spec_of(name), HUB[name]
    folder = mirror / spec.source.id / (spec.source.config or "")
    folder.mkdir(parents=True)
    start = 0
    for split, count in splits.items():  # no row is in two splits
        rows = [change(row(i)) for i in range(start, start + count)]
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}-00000-of-00001.parquet")
        start += 12 * count
    return spec


def prepared(spec, cache):
    card = part_of(RESOLVER, "model", ("model=gpt2_small", "model.size=tiny")).spec
    model = load_model(card, spec.task, Seeds(0), cache)
    task = build(spec, model)
    return load_data(spec, Encoder(task.encode, task.length, model.processor_key), cache), task, model.model


@pytest.mark.parametrize("name", HUB)
def test_rows_as_on_the_hub_are_read_split_encoded_and_learnt_from(mirror, tmp_path, name):
    spec = write(mirror, name)
    data, task, model = prepared(spec, tmp_path)
    splits = HUB[name][1]
    held = 0 if spec.split.validation else len(data.validation)
    assert len(data.train) + held == splits[spec.split.train] and len(data.test) == splits[spec.split.test]
    assert len(data.validation) > 0 and not data.facts.get("shared_rows")
    batch = task.collate([data.train[i] for i in range(4)], None)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    before = task.losses(model.eval(), batch).mean()
    before.backward()
    optimizer.step()
    with torch.no_grad():
        assert float(task.losses(model, batch).mean()) < float(before.detach())
        predictions = task.predict(model, task.collate([data.test[i] for i in range(4)], None))
    assert set(task.score(predictions)) == {"loss", *spec.metrics}


@pytest.mark.parametrize("name", HUB)
def test_show_marks_the_right_answers_and_counts_the_rows(mirror, name):
    spec, (_, splits, right) = write(mirror, name), HUB[name]
    key, text = spec.split.key, as_text(described(spec))
    assert f"test {splits[spec.split.test]:,} (from {spec.split.test})" in text
    row = HUB[name][0](1)
    blocks = [part for part in text.split("── ") if part.startswith(f"{spec.split.train}:{row[key] if key else 1}\n")]
    if blocks:  # row 1 is shown where validation did not take it, or row 0
        assert [line[2:] for line in blocks[0].splitlines() if line.startswith("→")] == right


def test_every_text_task_of_the_paper_has_a_card_that_scores_candidates_but_for_drop():
    assert len(HUB) == 13
    kinds = {name: spec_of(name).task.kind for name in HUB}
    assert kinds == dict.fromkeys(HUB, "choice") | {"drop": "generation"}
    assert {spec_of(name).task.max_length for name in HUB} == {256, 1024}  # openbookqa_choice is older than the paper
    for name in HUB:
        task, chance = spec_of(name).task, spec_of(name).chance
        if isinstance(task, Choice) and not task.multi_label:
            count = 4 if task.options else len(task.labels)
            assert 1 / count - 0.001 <= chance < 0.63


def test_a_comment_of_several_emotions_is_right_with_any_of_them_and_its_loss_is_of_all(mirror, tmp_path):
    data, task, model = prepared(write(mirror, "goemotions"), tmp_path)
    rows = [data.test[i] for i in range(6)]
    names = [{"admiration", "joy"}, {"surprise", "excitement"}, {"neutral"}]
    with torch.no_grad():
        predictions = task.predict(model, task.collate(rows, None))
        losses = task.losses(model, task.collate(rows, None))
    dense = [dense_probabilities(task, model, row) for row in rows]
    for i, (p, shares) in enumerate(zip(predictions, dense, strict=True)):
        right = names[i % 3]
        best = max(shares, key=shares.get)
        assert p.target == next(label for label in task._task.labels if label in right)
        assert p.prediction == (p.target if best in right else best)
        assert p.score == pytest.approx(sum(shares[label] for label in right), rel=1e-4)
        assert float(losses[i]) == pytest.approx(p.loss) == pytest.approx(-torch.tensor(p.score).log().item(), rel=1e-5)


def dense_probabilities(task, model, row) -> dict[str, float]:
    """Of every label, one candidate at a time, in float64."""
    prompt, flat, means = list(row["input_ids"]), iter(row["candidates"]), []
    for size in row["sizes"]:
        answer = [int(next(flat)) for _ in range(size)]
        with torch.no_grad():
            logs = model(input_ids=torch.tensor([prompt + answer])).logits[0].double().log_softmax(-1)
        means.append(logs[range(len(prompt) - 1, len(prompt + answer) - 1), answer].mean())
    return dict(zip(task._task.labels, torch.stack(means).softmax(0).tolist(), strict=True))


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([], r"row train:0: .*must be a list of one label or more"),
        (3, r"row train:0: .*must be a list of one label or more"),
        ([28], "row train:0: label 28 is outside of 0 to 27"),
        ([0, None], "row train:0: there is no label"),
    ],
)
def test_labels_that_are_no_list_of_classes_are_an_error(mirror, tmp_path, labels, sentence):
    spec = write(mirror, "goemotions", lambda row: row | {"labels": labels})
    with pytest.raises(DataError, match=sentence):
        prepared(spec, tmp_path)


def test_a_task_of_several_labels_has_no_metric_but_accuracy(tmp_path):
    spec = part_of(RESOLVER, "dataset", ("dataset=goemotions", "dataset.metrics=[accuracy,f1_macro]")).spec
    with pytest.raises(DataError, match="the one metric is accuracy; metrics names f1_macro too"):
        prepared(spec, tmp_path)


def test_an_answer_of_drop_is_right_when_it_is_any_annotators(mirror, tmp_path):
    data, task, model = prepared(write(mirror, "drop"), tmp_path)
    batch = task.collate([data.test[i] for i in range(3)], None)
    first = 12 * 40
    answers = [json.loads(texts) for texts in batch.references]
    assert answers == [[str(n), f"{n} points"] for n in range(first, first + 3)]
    assert batch.to(torch.device("cpu")).references == batch.references
    texts = [f" {first} points", f" {first + 1}", " none"]
    task._written = lambda model, batch: texts  # what greedy decoding might write
    with torch.no_grad():
        predictions = task.predict(model, batch)
    assert [(p.target, p.prediction) for p in predictions] == [
        (str(first), str(first)), (str(first + 1), str(first + 1)), (str(first + 2), "none"),
    ]  # fmt: skip
    assert task.score(predictions)["exact_match"].value == pytest.approx(2 / 3)


@pytest.mark.parametrize("spans", [[], None, "7"])
def test_an_answer_list_that_is_none_is_an_error(mirror, tmp_path, spans):
    change = {"answers_spans": {"spans": spans, "types": ["number"]}}
    spec = write(mirror, "drop", lambda row: row | change)
    with pytest.raises(DataError, match=r"row \w+:\d+: .*answers_spans"):
        prepared(spec, tmp_path)
