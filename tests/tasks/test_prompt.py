"""Templates: what must survive does, at any length."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.ledger.dataset_spec import Prompt
from harness.ledger.errors import DataError
from harness.tasks.prompt import fit, render, slots

ROW = {"context": "one two three four five six", "question": "Why?", "options": ["a dog", "a cat"], "n": 3}
QUESTION = Prompt("Q: ", "{context}", "\n{question}\nA) {options[0]}\nB) {options[1]}\nAnswer:", "right")


def bytes_of(text: str) -> list[int]:
    return list(text.encode())


def text_of(ids: list[int]) -> str:
    return bytes(ids).decode()


@settings(max_examples=200, deadline=None)
@given(room=st.integers(1, 90), cut=st.sampled_from(["left", "right"]), context=st.text(max_size=80))
def test_options_and_question_survive_at_any_length_or_the_row_is_refused(room, cut, context):
    prompt = Prompt(QUESTION.before, QUESTION.context, QUESTION.after, cut)
    row = ROW | {"context": context}
    after = render(prompt.after, row)
    if len(bytes_of(prompt.before + after)) > room:
        if len(bytes_of(prompt.before + render(prompt.context, row) + after)) > room:
            with pytest.raises(DataError, match="must stay whole"):
                fit(prompt, row, bytes_of, room)
        return
    ids, shortened = fit(prompt, row, bytes_of, room)
    text = text_of(ids)
    assert len(ids) <= room
    assert text.startswith(prompt.before) and text.endswith(after)
    assert shortened == (text != prompt.before + context + after)


def test_as_many_words_of_the_context_stay_as_fit():
    after = render(QUESTION.after, ROW)
    room = len(bytes_of("Q: one two three" + after)) + 3  # " four" does not fit
    assert text_of(fit(QUESTION, ROW, bytes_of, room)[0]) == "Q: one two three" + after
    left = Prompt(QUESTION.before, QUESTION.context, QUESTION.after, "left")
    assert text_of(fit(left, ROW, bytes_of, room)[0]).startswith("Q:  four five six")


def test_a_template_reaches_into_lists_and_refuses_what_a_row_has_not():
    assert render("{options[1]} {n}", ROW) == "a cat 3"
    assert render("{options}", ROW) == "a dog\na cat"
    with pytest.raises(DataError, match="there is no column 'answer'; the data has context, question, options, n"):
        render("{answer}", ROW)
    with pytest.raises(DataError, match="filter 'shout' is unknown"):
        render("{question:shout}", ROW)


def test_slots_of_a_meaning_representation_are_sorted_and_lower_case():
    assert slots("name[The Eagle], food[Thai], area[city centre]") == "area=city centre ; food=thai ; name=the eagle"
