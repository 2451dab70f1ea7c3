"""Sweeps about rank: every cell is planned, and what they call equal is equal, by the cards' own widths."""

from fractions import Fraction
from pathlib import Path

import pytest

from harness.config.resolve import Resolver
from harness.planning.history import passes_of
from harness.planning.plan import plan_sweep, read_request
from methods.ranks import rank_of

CONF = Path(__file__).parents[2] / "conf"


def plan_of(name, *words):
    return plan_sweep(read_request([f"sweep={name}", *words]), Resolver())


def weights(model):
    """(in + out) of each target."""
    hidden, inner = model["config"]["hidden_size"], model["config"]["intermediate_size"]
    return dict.fromkeys("qkvo", 2 * hidden) | dict.fromkeys(("up", "down"), hidden + inner)


def final_rank(method):
    """Of all weights alike, where nothing is learned."""
    schedule, update = method["schedule"], method["update"]
    if schedule["kind"] == "in_squeeze":
        return schedule["ranks"][-1]
    if update["kind"] == "peft":
        return update["options"].get("target_r", update["options"].get("r"))
    return schedule.get("max_rank", update.get("rank"))


def parameters(spec):
    """r·(in + out) of the adapter when it is used, summed over weights; without gates and shape numbers."""
    method, depth = spec["method"], spec["model"]["config"]["num_hidden_layers"]
    sizes = weights(spec["model"])
    return sum(
        rank_of(method.get("ranks", {}), final_rank(method), target, layer, depth) * sizes[target]
        for layer in range(depth)
        for target in method["targets"]
    )


def passes(spec):
    """Forward and backward passes of the whole training: in batches where the recipe counts steps, else in epochs."""
    recipe = spec["recipe"]
    return (recipe["max_steps"] or recipe["epochs"]) * passes_of(spec["method"])


@pytest.mark.parametrize(
    ("name", "cells", "budget", "length"),
    [("rank_strategies_tiny", 11, 14_336, 120), ("rank_strategies", 13, 1_327_104, 20)],
)
def test_every_strategy_has_the_budget_and_the_compute_that_the_sweep_states(name, cells, budget, length):
    plan = plan_of(name, "seed=0")
    assert not plan.skipped
    datasets = {run.choices["dataset"] for run in plan.runs}
    assert len(plan.runs) == cells * len(datasets) and not any(run.source for run in plan.runs)
    assert {parameters(run.spec) for run in plan.runs} == {budget}
    assert len({run.spec["recipe"]["batch_size"] for run in plan.runs}) == 1
    assert {passes(run.spec) for run in plan.runs} == {length}, "the same passes, over batches of one size"
    said = (CONF / "sweep" / f"{name}.yaml").read_text()
    assert f"{length} passes" in said or f"passes, forward and backward, of {length} epochs" in said


def test_ranks_from_1_to_64_have_one_scale():
    plan = plan_of("lora_rank", "seed=0", "dataset=mrpc")
    updates = [run.spec["method"]["update"] for run in plan.runs]
    assert [update["rank"] for update in updates] == [1, 2, 4, 8, 16, 32, 64]
    assert {Fraction(update["alpha"]) / update["rank"] for update in updates} == {2}


def test_combinations_of_targets_have_one_budget_and_one_scale():
    plan = plan_of("lora_targets", "seed=0", "dataset=rte")
    assert not plan.skipped and len({tuple(run.spec["method"]["targets"]) for run in plan.runs}) == 12
    assert {parameters(run.spec) for run in plan.runs} == {12 * 92_160}
    scales = {Fraction(m["alpha"]) / m["rank"] for m in (run.spec["method"]["update"] for run in plan.runs)}
    assert scales == {2}


def test_each_seed_has_one_source_that_is_merged_with_the_penalty_and_without():
    plan = plan_of("rank_interference", "seed=range(10)")
    assert not plan.skipped
    pairs = {
        (run.spec["seed"], run.spec["method"]["update"]["orthogonal"]): run.source for run in plan.runs if run.source
    }
    assert len(pairs) == 20 and len(set(pairs.values())) == 10
    assert all(pairs[seed, 0.0] == pairs[seed, 0.5] for seed in range(10))
