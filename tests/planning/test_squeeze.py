"""LoRA-Squeeze in plans: one source for every target rank, and what is refused."""

import pytest

from harness.config.resolve import Resolver
from harness.ledger.errors import PlanError
from harness.planning.plan import plan_one, plan_sweep, read_request

SMALL = ("model=vit_micro", "dataset=digits", "recipe=quick_image", "recipe.max_steps=0", "source.recipe.max_steps=8")
WIDE = ("method.update.rank=64", "method.update.alpha=128", "source.method=lora")


def one(*words):
    return plan_one(read_request(words), Resolver())


def test_every_target_rank_starts_from_one_training_of_the_wide_rank():
    words = [*SMALL, *WIDE, "method=squeeze_post", "method.schedule.rank=32,16,8,4,2,1"]
    plan = plan_sweep(read_request(words), Resolver())
    source, *targets = plan.runs
    assert source.source is None and [run.source for run in targets] == [source.id] * 6
    wide, recipe = source.spec["method"]["update"], source.spec["recipe"]
    assert (wide["rank"], wide["alpha"], recipe["max_steps"]) == (64, 128.0, 8)
    assert [run.spec["method"]["schedule"]["rank"] for run in targets] == [32, 16, 8, 4, 2, 1]
    assert all(run.spec["source"]["method"]["update"]["rank"] == 64 for run in targets)
    alone = one("model=vit_micro", "dataset=digits", "recipe=quick_image", "recipe.max_steps=8", "method=lora",
                "method.update.rank=64", "method.update.alpha=128")  # fmt: skip
    assert alone.id == source.id, "a direct run of the wide rank is the source"


def test_a_continued_run_of_the_same_source_trains_nothing_anew():
    post = one(*SMALL, *WIDE, "method=squeeze_post")
    more = one(*SMALL, *WIDE, "method=squeeze_cont", "recipe.max_steps=4", "recipe.warmup_steps=2")
    assert post.source != more.source, "recipe words are the source's own too, unless source.… says"
    same = one(*SMALL, *WIDE, "method=squeeze_cont", "recipe.max_steps=4", "recipe.warmup_steps=2",
               "source.recipe.warmup_steps=null")  # fmt: skip
    assert same.source == post.source


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("method=squeeze_post",), "squeeze_post starts from a trained run; say which, as in source.method=lora."),
        (("method=squeeze_post", "source.method=lora", "recipe.max_steps=3"), "give recipe.max_steps=0"),
        (("method=squeeze_cont", "source.method=lora"), "it trains on after it has compressed"),
        (("method=squeeze_post", "source.method=lora", "source.method.update.rank=8"), "must be equal"),
        (("method=squeeze_post", "source.method=cola"), "cola's does not"),
        (("method=squeeze_post", "source.method=lora", "source.dataset=digits", "source.model=vit_micro",
          'source.model.config.hidden_dropout_prob=0.1'), "both need the same model and dataset"),
        (("method=squeeze_in", "recipe.max_steps=4"), "5 stages of at least 1 steps do not fit into 4 steps"),
        (("method=squeeze_in", "recipe.max_steps=null", "recipe.early_stop=2"), "recipe.early_stop must be null"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence(words, says):
    base = SMALL if any(word.startswith("source") for word in words) else SMALL[:4]
    with pytest.raises(PlanError) as caught:
        one(*base, *words)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def steps(run):
    """All optimizer steps behind a run, those of its source counted."""
    return run.spec["recipe"]["max_steps"] + (run.spec["source"]["recipe"]["max_steps"] if run.source else 0)


def test_every_variant_of_the_tiny_sweep_has_equal_steps_and_each_source_is_planned_once():
    plan = plan_sweep(read_request(["sweep=squeeze_tiny"]), Resolver())
    assert not plan.skipped and len({run.id for run in plan.runs}) == len(plan.runs) == 54
    assert len({run.source for run in plan.runs if run.source}) == 6, "two sources for each of three seeds"
    shorter = {run.source for run in plan.runs if run.choices["method"] == "squeeze_cont"}
    assert {steps(run) for run in plan.runs if run.id not in shorter} == {120}
    assert {run.spec["dataset"]["source"]["kind"] for run in plan.runs} == {"builtin"}


@pytest.mark.parametrize(
    ("name", "runs", "sources"),
    [
        (
            "squeeze_text",
            13 * 2 * 11,
            13 * 2 * 2,
        ),  # direct 1 and 128 at three rates, Post, Cont and its source, two In-Squeeze
        ("squeeze_vl", 10 * 11, 10 * 2),
        ("squeeze_rank_grid", 8 * 3 + 25, 5),  # direct, and each lower rank from 8, 16, 32, 64 and 128
    ],
)
def test_a_sweep_of_the_paper_plans_every_cell_and_shares_its_sources(name, runs, sources):
    plan = plan_sweep(read_request([f"sweep={name}", "seed=42"]), Resolver())
    assert not plan.skipped and len({run.id for run in plan.runs}) == len(plan.runs) == runs
    assert len({run.source for run in plan.runs if run.source}) == sources
    shorter = {run.source for run in plan.runs if run.choices["method"] == "squeeze_cont"}
    assert {steps(run) for run in plan.runs if run.id not in shorter} == {10_000}


def test_the_papers_optimizer_is_a_recipe_and_adamw_is_the_run_of_before():
    words = ("model=vit_micro", "dataset=digits", "method=lora")
    plain = one(*words)
    assert one(*words, "+recipe.optimizer=adamw").id == plain.id and "optimizer" not in plain.spec["recipe"]
    assert one(*words, "+recipe.optimizer=adafactor").id != plain.id
    recipe = one("model=gemma3_4b", "dataset=boolq", "method=lora", "recipe=squeeze_gemma_adafactor").spec["recipe"]
    told = [recipe[key] for key in ("optimizer", "lr", "schedule", "warmup_steps", "max_steps", "batch_size")]
    assert told == ["adafactor", 0.01, "constant", 1000, 10_000, 8]
