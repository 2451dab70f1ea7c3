"""A named sweep is read strictly: what it may leave out, and what it may not say."""

import pytest

from harness.config.overrides import assign
from harness.ledger.errors import SpecError
from harness.planning.grid import cells, read_sweep, settings_for, why_excluded

GRID = {"method": ["lora", "cla"], "model": ["minilm"], "dataset": ["cola"]}


def words(raw, **typed):
    typed = {key: tuple(assign(key, value) for value in values) for key, values in typed.items()}
    return [" ".join(word.word for word in cell.values()) for cell in cells(read_sweep(raw), typed)]


def test_a_sweep_needs_a_name_and_a_grid_and_no_more():
    assert words({"name": "mine", "grids": [GRID]}) == [
        "method=lora model=minilm dataset=cola",
        "method=cla model=minilm dataset=cola",
    ]
    assert words({"name": "typed"}, method=("lora", "cla")) == ["method=lora", "method=cla"]


def test_values_are_written_as_they_would_be_typed():
    raw = {"name": "mine", "grids": [{"method.targets": [["q", "v"], ["q"]], "recipe.max_steps": [None, 5]}]}
    assert words(raw)[:2] == [
        "method.targets=[q,v] recipe.max_steps=null",
        "method.targets=[q,v] recipe.max_steps=5",
    ]


def test_a_grid_may_hold_one_value_and_the_short_keys_of_the_command_line():
    assert words(
        {"name": "mine", "grids": [{"method": "peft", "size": "tiny", "peft.type": ["IA3"], "peft.r": [4]}]}
    ) == ["method=peft model.size=tiny method.update.type=IA3 ++method.update.options.r=4"]


def test_exclusions_and_settings_take_a_value_or_a_list_of_them():
    sweep = read_sweep(
        {
            "name": "mine",
            "grids": [GRID],
            "exclude": [{"where": {"method": ["cla"], "model": "minilm"}, "because": "it is known"}],
            "set": [{"where": {"dataset": ["cola", "mrpc"]}, "set": {"recipe.lr": 0.1, "size": "tiny"}}],
        }
    )
    lora, cla = cells(sweep, {})
    assert (why_excluded(lora, sweep), why_excluded(cla, sweep)) == (None, "it is known")
    assert [word.word for word in settings_for(lora, sweep)] == ["recipe.lr=0.1", "model.size=tiny"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nmae": "x"}, r"sweep\.nmae: unknown key\. Did you mean 'name'"),
        ({"grids": [GRID | {"modle": ["minilm"]}]}, r"sweep\.grids\[0\]\.modle: unknown key\. Did you mean 'model'"),
        ({"grids": [GRID | {"seed": [0, 1]}]}, r"sweep\.grids\[0\]\.seed: the seeds of a sweep stand under `seeds`"),
        ({"grids": [{"zip": ["minilm"]}]}, r"sweep\.grids\[0\]\.zip: 'minilm' is not a mapping"),
        ({"grids": GRID}, r"sweep\.grids: .* is not a list"),
        ({"exclude": [{"where": {"metod": "lora"}, "because": "x"}]}, r"sweep\.exclude\.metod: unknown key"),
        ({"exclude": [{"where": {"method": "lora"}}]}, r"sweep\.exclude\[0\]: because must be given"),
        ({"set": [{"where": {}, "set": {"lr": 0.1}}]}, r"sweep\.set\.lr: unknown key"),
        ({"seeds": ["one"]}, r"sweep\.seeds\[0\]: 'one' is not a whole number"),
    ],
)
def test_what_a_sweep_says_wrongly_is_a_sentence_that_names_it(change, said):
    with pytest.raises(SpecError, match=said):
        read_sweep({"name": "mine", "grids": [GRID]} | change)


def test_a_sweep_without_a_name_is_refused():
    with pytest.raises(SpecError, match="name must be given"):
        read_sweep({"grids": [GRID]})
