"""What is one method and what is two: by the settings that differ inside a block."""

from analysis.planned import planned_rows
from harness.ledger.plan import Plan, Planned, Skipped


def spec(method: str, model: str = "m", rank: int = 8, kv_heads: int = 4, recipe: str = "default") -> dict:
    update = {"kind": "low_rank", "rank": rank, "alpha": 16.0, "train_a": True, "train_b": True, "init_a": "normal"}
    return {
        "method": {"name": method, "targets": ["q", "v"], "update": update, "schedule": {"kind": "constant"},
                   "about": {"label": method.upper()}},
        "model": {"name": model, "size": "full", "about": {},
                  "config": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
                             "num_key_value_heads": kv_heads}},
        "dataset": {"name": "d", "metric": "accuracy", "direction": "max", "chance": 0.5, "about": {}},
        "recipe": {"name": recipe},
        "seed": 0,
    }  # fmt: skip


def labels(*runs: tuple[dict, dict]) -> list[str]:
    planned = tuple(Planned(f"{i:016x}", choices, plain) for i, (plain, choices) in enumerate(runs))
    return list(planned_rows(Plan("p", planned, (), {}))["label"])


def test_two_ranks_in_one_block_are_two_methods() -> None:
    found = labels((spec("lora", rank=4), {"method.update.rank": 4}), (spec("lora", rank=8), {"method.update.rank": 8}))
    assert found == ["LORA (update.rank=4)", "LORA (update.rank=8)"]


def test_a_setting_that_a_whole_block_has_is_no_other_method() -> None:
    found = labels((spec("cola", "a"), {"method.schedule.links": 3}), (spec("cola", "b"), {}))
    assert found == ["COLA", "COLA"]


def test_only_what_differs_is_in_the_name() -> None:
    both = {"recipe.epochs": 2}
    found = labels((spec("lora"), both | {"recipe": "x"}), (spec("lora"), both | {"recipe": "y"}))
    assert found == ["LORA (recipe=x)", "LORA (recipe=y)"]


def test_one_recipe_per_model_is_no_other_method() -> None:
    assert labels((spec("lora", "a"), {"recipe": "x"}), (spec("lora", "b"), {"recipe": "y"})) == ["LORA", "LORA"]


def test_the_formula_knows_narrow_key_and_value_heads() -> None:
    """TinyLlama's counts (study, 2.2) in small: q is 64 to 64, v is 64 to 16."""
    planned = (Planned("0" * 16, {}, spec("lora", kv_heads=1)),)
    row = planned_rows(Plan("p", planned, (), {})).iloc[0]
    assert row["formula_params"] == 2 * 8 * ((64 + 64) + (64 + 16))


def test_a_skipped_cell_of_a_method_that_never_runs_still_has_names() -> None:
    plan = Plan(
        "p",
        (Planned("0" * 16, {}, spec("lora")),),
        (Skipped({"method": "x", "model": "m", "dataset": "d"}, "why"),),
        {},
    )
    row = planned_rows(plan).iloc[1]
    assert (row["label"], row["block"], row["skip"]) == ("x", "m / d", "why")


def test_the_formula_is_silent_about_a_tiny_model_whose_widths_are_not_the_cards() -> None:
    plain = spec("lora")
    tiny = plain | {"model": plain["model"] | {"size": "tiny"}}
    rows = [planned_rows(Plan("p", (Planned("0" * 16, {}, part),), (), {})).iloc[0] for part in (plain, tiny)]
    assert [rows[0]["formula_params"], str(rows[1]["formula_params"])] == [8 * 2 * 128 * 2, "nan"]
