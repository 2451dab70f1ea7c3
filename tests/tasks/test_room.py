"""The study's templates at every length: what carries the question and its options stays, or the row is refused."""

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.config.resolve import Resolver
from harness.ledger.errors import DataError
from harness.models.tiny import tiny_tokenizer
from harness.tasks.build import bind
from harness.tasks.prompt import lines, render
from tests.parts import part_of

RESOLVER = Resolver()
LONG = "Something happened in the old town, and then another thing did. " * 12
OPTIONS = ["it rains", "the sun", "a very long answer with many words", "no"]
# dataset: a row whose context is far too long for most lengths
ROWS = {
    "openbookqa": {"question_stem": "Water is", "choices": {"text": OPTIONS}, "answerKey": "A"},
    "openbookqa_choice": {"question_stem": "Water is", "choices": {"text": OPTIONS}, "answerKey": "A"},
    "logiqa": {"text": LONG, "question": "What follows?", "options": OPTIONS, "answer": "C"},
    "folio": {"premises": LONG, "conclusion": "The town is old.", "label": "True"},
    "clutrr": {"story": LONG, "query": "('Ann', 'Bob')", "target": "aunt"},
    "cola": {"sentence": LONG, "label": "acceptable"},
    "mrpc": {"sentence1": LONG, "sentence2": "Short.", "label": "equivalent"},
    "rte": {"sentence1": LONG, "sentence2": "A thing happened.", "label": "entailment"},
    "stsb": {"sentence1": LONG, "sentence2": "Short.", "label": 2.5},
    "trec50": {"text": LONG, "fine_label": "NUM:date"},
    "django": {"nl": LONG, "code": "x = 1"},
    "e2e": {"meaning_representation": ", ".join(f"slot{i}[value {i}]" for i in range(40)), "human_reference": "Yes."},
}


@pytest.fixture(scope="module")
def tokenizers(peftlab_cache):
    cards = {
        name: part_of(RESOLVER, "model", (f"model={name}", "model.size=tiny")).spec
        for name in ("gpt2_small", "roberta_base")
    }
    found = {name: tiny_tokenizer(card, peftlab_cache) for name, card in cards.items()}
    for tokenizer in found.values():
        tokenizer.stretch = 1  # lengths below are in its own tokens
    return found


def _text(tokenizer, ids) -> str:
    return tokenizer.decode([int(i) for i in ids], skip_special_tokens=True, clean_up_tokenization_spaces=False)


@pytest.mark.parametrize("name", ROWS)
@settings(max_examples=60, deadline=None)
@given(length=st.integers(4, 400))
def test_a_decoder_reads_all_but_the_context_whole_at_any_length(tokenizers, name, length):
    card, row = part_of(RESOLVER, "dataset", (f"dataset={name}",)).spec, ROWS[name]
    tokenizer = tokenizers["gpt2_small"]
    task = bind(replace(card, task=replace(card.task, max_length=length)), tokenizer, decoder=True)
    prompt = card.task.prompt or lines(card.task.text)
    before, after = render(prompt.before, row), render(prompt.after, row)
    try:
        example = task.encode(row)
    except DataError as error:
        assert "max_length" in str(error) and len(tokenizer(before + after).input_ids) > length - 40
        return
    text = _text(tokenizer, example["input_ids"][: example.get("prompt")])
    assert text.startswith(before) and text.endswith(after)
    assert task.length(example) <= max(length, len(tokenizer(before + after).input_ids) + 1)
    whole = before + render(prompt.context, row) + after
    assert bool(example["shortened"]) == (text != whole)


@pytest.mark.parametrize("name", ["folio", "rte"])
@settings(max_examples=60, deadline=None)
@given(length=st.integers(4, 400))
def test_an_encoder_shortens_the_first_text_and_reads_the_second_whole(tokenizers, name, length):
    card, row = part_of(RESOLVER, "dataset", (f"dataset={name}",)).spec, ROWS[name]
    tokenizer = tokenizers["roberta_base"]
    task = bind(replace(card, task=replace(card.task, max_length=length)), tokenizer, decoder=False)
    second = row[card.task.text[1]]
    try:
        example = task.encode(row)
    except DataError as error:
        assert "must stay whole" in str(error) and len(tokenizer("", second).input_ids) >= length
        return
    assert _text(tokenizer, example["input_ids"]).endswith(second) and len(example["input_ids"]) <= length


@pytest.mark.parametrize("name", ["cola", "trec50", "mrpc", "stsb"])
@settings(max_examples=60, deadline=None)
@example(length=2)  # as many as the special tokens of one text
@example(length=3)  # and of two
@given(length=st.integers(1, 400))
def test_an_encoder_keeps_something_of_each_text_or_refuses_the_row(tokenizers, name, length):
    card, row = part_of(RESOLVER, "dataset", (f"dataset={name}",)).spec, ROWS[name]
    task = bind(replace(card, task=replace(card.task, max_length=length)), tokenizers["roberta_base"], decoder=False)
    try:
        example = task.encode(row)
    except DataError as error:
        assert "special tokens" in str(error) and length <= len(card.task.text) + 1
        return
    assert len(card.task.text) + 1 < len(example["input_ids"]) <= length
