"""Written answers against all references: examples worked by hand, brute force, and the audit's own code."""

import json
from functools import cache
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from analysis.checks.scores import metric
from harness.ledger.errors import DataError, SpecError
from harness.ledger.metrics import check_card
from harness.tasks.answers import anls, most_frequent, normalised, references_of, vqa_accuracy
from harness.tasks.scores import score
from harness.tasks.task import Prediction
from tests.tasks.test_vision_language import dataset, written

words = some.sampled_from(
    ["a", "The", "dont", "two", "2", "1,000", "3.5", "red-ish", "blue;", "Yes.", "no", "who/whom"]
)
texts = some.lists(words, max_size=4).map(" ".join) | some.text("ab .,'", max_size=7)


@pytest.mark.parametrize(("agreeing", "expected"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)])
def test_an_answer_that_so_many_of_ten_people_gave_has_the_accuracy_of_the_vqa_page(agreeing, expected):
    """Of the ten sets of nine: 3 agree → 7 sets with 3 of them (1) and 3 sets with 2 (2/3), so 0.9; and so on."""
    references = ["yes"] * agreeing + [f"other{i}" for i in range(10 - agreeing)]
    assert vqa_accuracy("yes", references) == pytest.approx(expected)


@given(texts, some.lists(texts, min_size=4, max_size=10))
def test_vqa_accuracy_is_the_mean_over_all_sets_without_one_reference(answer, references):
    plain = [normalised(text) for text in references]
    sets = list(combinations(plain, len(plain) - 1))
    brute = np.mean([min(1.0, sum(text == normalised(answer) for text in others) / 3) for others in sets])
    assert vqa_accuracy(answer, references) == pytest.approx(brute)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Red ball", "red ball"), ("none", "0"), ("Two dogs", "2 dogs"), ("dont", "don't"),
        ("couldntve", "couldntve"), ("couldn'tve", "couldn't've"),
        ("red-blue", "red blue"), ("red - blue", "red blue"), ("red, blue", "red blue"),
        ("1,000", "1000"), ("3.5", "3.5"), ("end.", "end"), ("yes\n", "yes"), ("what?", "what"),
        ("a", ""), ("who/whom", "who whom"),
    ],
)  # fmt: skip
def test_answers_are_normalised_as_the_vqa_evaluation_does(text, expected):
    assert normalised(text) == expected


@pytest.mark.parametrize(
    ("answer", "references", "expected"),
    [
        ("Paris", ["paris"], 1.0),
        ("pari", ["paris", "lyon"], 0.8),  # one edit of five
        ("gat", ["cat"], 2 / 3),
        ("dog", ["cat"], 0.0),
        ("ab", ["ad"], 0.0),  # half of it: NL = 0.5 is not below the threshold
        ("1999", ["1998", "1999"], 1.0),
        ("  two   words ", ["Two words"], 1.0),
        ("", ["x"], 0.0),
    ],
)
def test_anls_of_examples_worked_by_hand(answer, references, expected):
    assert anls(answer, references) == pytest.approx(expected)


@given(some.text("abC ", max_size=6), some.lists(some.text("abC ", max_size=6), min_size=1, max_size=3))
def test_anls_is_its_definition_with_the_edit_distance_by_recursion(answer, references):
    @cache
    def distance(a: str, b: str) -> int:
        if not a or not b:
            return len(a) + len(b)
        return min(distance(a[1:], b) + 1, distance(a, b[1:]) + 1, distance(a[1:], b[1:]) + (a[0] != b[0]))

    def similarity(a: str, b: str) -> float:
        nl = distance(a, b) / max(len(a), len(b), 1)
        return 1 - nl if nl < 0.5 else 0.0

    plain = [" ".join(text.lower().split()) for text in references]
    expected = max(similarity(" ".join(answer.lower().split()), text) for text in plain)
    assert anls(answer, references) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["vqa_accuracy", "anls"])
@settings(deadline=None)  # the first example imports what scores
@given(some.lists(some.tuples(texts, some.lists(texts, min_size=4, max_size=6)), min_size=1, max_size=5))
def test_the_audit_finds_the_same_scores_by_code_of_its_own(name, pairs):
    rows = [Prediction(str(i), json.dumps(many), answer, 0.0, 0.0, 1) for i, (answer, many) in enumerate(pairs)]
    table = {key: np.array([getattr(row, key) for row in rows], dtype=object) for key in ("target", "prediction")}
    run: Any = SimpleNamespace(dataset={})
    found = score(rows, (name,))[name]
    assert found.n == len(rows) and found.value == pytest.approx(metric(name)(table, run), abs=1e-12)


def test_references_are_a_text_texts_or_answers_of_annotators_and_nothing_else():
    assert references_of("red", "a") == ["red"] and references_of(["red", "Red"], "a") == ["red", "Red"]
    assert references_of([{"answer": "red", "answer_id": 1}], "a") == ["red"]
    for value in ([], None, 3, [None], [{"text": "red"}]):
        with pytest.raises(DataError, match="'a' holds"):
            references_of(value, "a")
    assert most_frequent(["b", "a", "a", "b"]) == "b"


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (written("vqa_accuracy"), "vqa_accuracy compares a written answer with all references"),
        (written("exact_match", answers="answers"), "exact_match knows one reference"),
    ],
)
def test_metrics_and_references_of_a_card_must_fit(spec, sentence):
    with pytest.raises(SpecError, match=sentence):
        check_card(spec)
    check_card(written("anls", answers="answers"))
    check_card(dataset())
