"""Words of a command line and values of a yaml are the same objects; what Hydra cannot read is said in our words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config.overrides import assign, assign_from_yaml, expand, parse_words
from harness.ledger.errors import SpecError

TEXTS = [
    "a,b",
    "it's",
    " Good, or bad?",
    "lang=en",
    "p(1)",
    "dir with space",
    "a\\",
    "é",
    "{x}",
    "",
    "a\nb",
    "[",
    "#",
]


def read(word):
    (override,) = parse_words([word])
    return expand(override)


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_of_a_yaml_is_itself_when_hydra_reads_it(text):
    word = assign_from_yaml("dataset.source.path", text)
    assert word.shown == text
    (override,) = parse_words([word.word])
    assert override.value() == text and read(word.word) == [word]


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12))
def test_any_text_survives_hydras_grammar(text):
    (override,) = parse_words([assign("dataset.source.path", text).word])
    assert override.value() == text


@pytest.mark.parametrize(
    ("text", "value"), [("null", "null"), ("[2]", "[2]"), ("1e-3", "0.001"), ("true", "true"), ("'7'", "'7'")]
)
def test_a_text_that_is_typed_grammar_is_what_it_is_on_the_command_line(text, value):
    assert assign_from_yaml("recipe.x", text).text == value


def test_a_yaml_and_a_command_line_give_equal_assignments():
    assert read("recipe.lr=1e-3,3e-3") == [assign_from_yaml("recipe.lr", value) for value in (0.001, 0.003)]
    assert read("method.targets=[q, 'v']") == [assign_from_yaml("method.targets", ["q", "v"])]
    assert read("size=tiny") == [assign_from_yaml("model.size", "tiny")]
    assert read("peft.r=4")[0].word == "++method.update.options.r=4"


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("recipe.lr=[1", "recipe.lr: cannot read the value .* 'recipe.lr=\"\\[1\"'"),
        ("runs=/home/josé", "runs: cannot read the value '/home/josé'"),
        ("d566930ccd3e173c", "reads as a run's id: `peftlab explain d566930ccd3e173c`"),
        ("a b=c", "'a b' is not a key"),
        ("=x", "key is absent"),
        ("", "write key=value"),
        ("model@x=minilm", "a key has no @"),
        ("+method=lora", "always exactly one method"),
        ("~method", "always exactly one method"),
        ("seed=range(0)", r"seed=range\(0\): this stands for no value"),
        ("seed=1,1", "1 is there twice"),
        ("method=glob(zz*)", "stands for no value at all. Known: adalora"),
        ("recipe.lr=interval(0,1)", "only lists"),
    ],
)
def test_what_cannot_be_read_is_a_sentence_without_the_words_of_a_parser(word, says):
    with pytest.raises(SpecError, match=says) as error:
        read(word)
    assert not any(word in str(error.value) for word in ("token", "mismatched", "viable", "EOF", "extraneous"))
