"""Strategies, the budget and successive halving, on scores that are written out; and the defects of the tutorial."""

from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest

from harness.ledger.errors import SpecError
from harness.planning.search.evolution import Evolution
from harness.planning.search.reinforce import PRICE, Reinforce
from harness.planning.search.search_spec import read_search
from harness.planning.search.space import Space, Trial
from harness.planning.search.strategy import KINDS
from harness.planning.search.study import best_of, next_trial, promotion

RANKS = (1, 2, 4, 8, 16, 32)
COSTS = {"q": 100, "up": 300, "down": 200}
BEST = {"q": 2, "up": 8, "down": 16}
SPACE = Space(COSTS, RANKS, None)


def score(ranks):
    """1 at BEST, less for each step of the allowed ranks away from it."""
    wrong = sum(abs(rank.bit_length() - BEST[key].bit_length()) for key, rank in ranks.items())
    return 1 - 0.05 * wrong


def searched(spec, space=SPACE, score=score):
    """All trials of a search whose scores are known."""
    trials = []
    while len(trials) < spec.trials and (asked := next_trial(spec, space, trials)) is not None:
        ranks, steps = asked
        trials.append(Trial(f"{len(trials)}", ranks, steps, "done", score(ranks)))
    return trials


@pytest.mark.long
@pytest.mark.parametrize("strategy", KINDS)
def test_a_strategy_asks_for_allowed_ranks_and_never_for_the_same_twice(strategy):
    spec = read_search({"strategy": strategy, "trials": 30, "parameters": 6000})
    space = replace(SPACE, budget=6000)
    trials = searched(spec, space)
    assert len(trials) == 30 == len({tuple(sorted(trial.ranks.items())) for trial in trials})
    for trial in trials:
        assert set(trial.ranks) == set(COSTS) and all(1 <= rank <= 32 for rank in trial.ranks.values())
        assert space.parameters(trial.ranks) <= 6000
    assert [t.ranks for t in searched(spec, space)] == [t.ranks for t in trials], "the same trials, the same next one"
    assert [t.ranks for t in searched(replace(spec, seed=1), space)] != [t.ranks for t in trials]


@pytest.mark.long
@pytest.mark.parametrize("strategy", ["tpe", "evolution"])
def test_a_strategy_finds_the_planted_ranks_of_216_sooner_than_chance(strategy):
    """40 random trials of 216 meet the best in one search of five."""
    bests = [best_of(searched(read_search({"strategy": strategy, "trials": 40, "seed": seed}))) for seed in range(5)]
    assert sum(best.ranks == BEST for best in bests) >= 4, [best.ranks for best in bests]


def test_the_policy_goes_where_its_reward_is():
    """Every rank above 4 is worth more here, and far more than it costs."""
    space = Space(COSTS, tuple(range(1, 33)), None)
    spec = read_search({"strategy": "reinforce", "ranks": list(range(1, 33)), "trials": 60})
    trials = searched(spec, space, lambda ranks: sum(ranks.values()) / 10)
    early, late = (sum(sum(t.ranks.values()) for t in part) / 10 for part in (trials[:10], trials[-10:]))
    assert trials[0].ranks == dict.fromkeys(COSTS, 4) and late > 1.5 * early


# The tutorial's defects (methods.md, 3.3)


def test_of_equal_scores_the_reward_is_higher_for_fewer_parameters():
    """The tutorial subtracts 1 - share, so that large ranks pay."""
    policy = Reinforce(SPACE, Random(0))
    small, large = (Trial("", dict.fromkeys(COSTS, rank), None, "done", 0.8) for rank in (2, 32))
    assert policy.reward(small) > policy.reward(large) == pytest.approx(0.8 - PRICE)
    assert policy.reward(replace(large, score=0.9)) > policy.reward(large), "the score is the measured one"


def test_each_group_of_weights_has_its_own_action():
    """The tutorial moves all layers by one three-way action."""
    trials = searched(read_search({"strategy": "reinforce", "trials": 20}))
    steps = [{key: after.ranks[key] - before.ranks[key] for key in COSTS} for before, after in pairwise(trials)]
    assert any(max(step.values()) > 0 > min(step.values()) for step in steps)
    assert {move for step in steps for move in step.values()} <= {-2, -1, 0, 1, 2}, "1: at an end of the range"


def test_a_search_does_not_stop_where_little_is_saved():
    """The tutorial stops when efficiency is below a tenth: here nearly all of the largest ranks is always taken."""
    spec = read_search({"strategy": "reinforce", "ranks": [28, 29, 30, 31, 32], "trials": 20})
    assert len(searched(spec, Space(COSTS, spec.ranks, None), lambda ranks: 0.5)) == 20


def test_lowering_to_a_budget_leaves_its_input_alone_and_takes_from_what_is_largest():
    """The tutorial's loop changes its input, and always drains the first layer."""
    space = Space(COSTS, RANKS, 5000)
    ranks = {"q": 4, "up": 32, "down": 8}
    fitted = space.within(ranks)
    assert ranks == {"q": 4, "up": 32, "down": 8}
    assert fitted == {"q": 4, "up": 8, "down": 8} and space.parameters(fitted) == 4400
    assert space.within(fitted) == fitted


def test_a_budget_below_the_lowest_ranks_is_a_sentence():
    """The tutorial's loop never ends when all ranks are 1."""
    with pytest.raises(SpecError, match=r"search.parameters=599: rank 1 everywhere takes 600"):
        Space(COSTS, RANKS, 599)
    assert Space(COSTS, RANKS, 600).within(dict.fromkeys(COSTS, 32)) == dict.fromkeys(COSTS, 1)


# Failures, exhaustion, successive halving


@pytest.mark.parametrize("strategy", KINDS)
def test_failed_and_open_trials_are_told_and_the_search_goes_on(strategy):
    spec = read_search({"strategy": strategy})
    states = ("failed", "open", "done", "failed", "done", "open", "done", "done", "done")
    trials = []
    for number, state in enumerate(states):
        ranks, steps = next_trial(spec, SPACE, trials)
        trials.append(Trial(str(number), ranks, steps, state, score(ranks) if state == "done" else None))
    assert next_trial(spec, SPACE, trials) is not None


@pytest.mark.parametrize("strategy", ["tpe", "evolution"])
def test_a_space_that_was_searched_whole_has_no_next_trial(strategy):
    space = Space({"q": 1, "v": 1}, (1, 2), None)
    trials = searched(read_search({"strategy": strategy, "ranks": [1, 2], "trials": 50}), space, lambda ranks: 0.5)
    assert len(trials) == 4


def trial(rank, steps, value, state="done"):
    return Trial(f"{rank}-{steps}", {"q": rank}, steps, state, value)


def test_the_best_of_a_rung_go_on_to_the_next_and_the_highest_rung_first():
    spec = read_search({"rungs": [10, 30, 90], "keep": 2})
    first = [trial(1, 10, 0.1), trial(2, 10, 0.9), trial(4, 10, 0.5)]
    assert promotion(spec, first[:1]) is None, "one of one is no half"
    assert promotion(spec, first) == ({"q": 2}, 30)
    assert promotion(spec, [*first, trial(2, 30, None, "open")]) is None, "it is being tried"
    both = [*first, trial(8, 10, 0.8), trial(2, 30, 0.7), trial(8, 30, 0.6)]
    assert promotion(spec, both) == ({"q": 2}, 90)
    assert promotion(spec, [*both, trial(2, 90, 0.7)]) is None
    assert promotion(spec, [*first, trial(8, 10, None, "failed"), trial(2, 30, 0.7)]) is None
    assert best_of([*both, trial(2, 90, 0.2)]).ranks == {"q": 2}, "of the most steps, whatever shorter ones scored"


def test_a_search_with_rungs_spends_most_trials_on_the_lowest():
    spec = read_search({"rungs": [10, 30], "keep": 3, "trials": 24})
    trials = searched(spec)
    counts = {steps: sum(t.steps == steps for t in trials) for steps in (10, 30)}
    assert counts[30] >= 5 and counts[10] > 2 * counts[30]
    assert best_of(trials).steps == 30


def test_optuna_is_told_of_each_ranks_once_by_the_score_at_the_most_steps(monkeypatch):
    """Complete where the highest rung was reached, pruned below it, running while it is open, and failed."""
    told = []
    monkeypatch.setattr("optuna.study.Study.add_trial", lambda study, trial: told.append(trial))
    policy = KINDS["tpe"](Space({"q": 1}, RANKS, None), Random(0))
    tried = [trial(2, 10, 0.9), trial(4, 10, 0.5), trial(2, 30, 0.6), trial(8, 10, None, "open"),
             trial(16, 10, None, "failed"), trial(4, 30, None, "open")]  # fmt: skip
    for each in tried:
        policy.tell(each)
    policy.ask()
    states = [(each.params["q"], each.state.name, each.value, each.intermediate_values) for each in told]
    assert states == [
        (1, "COMPLETE", 0.6, {10: 0.9, 30: 0.6}), (2, "PRUNED", 0.5, {10: 0.5}), (3, "RUNNING", None, {}),
        (4, "FAIL", None, {}),
    ]  # fmt: skip


def test_evolution_prefers_trials_of_more_steps():
    long, short = trial(4, 90, 0.1), trial(2, 10, 0.9)
    strategy = Evolution(Space({"q": 1}, RANKS, None), Random(0))
    for each in [long, *[short] * 4]:
        strategy.tell(each)
    assert {strategy._winner().steps for _ in range(20)} == {10, 90}
    assert max([long, short], key=lambda t: (t.steps, t.score)) is long


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"ranks": [4, 2]}, r"search.ranks: \[4, 2\] must rise"),
        ({"rungs": [10, 10]}, r"search.rungs: \[10, 10\] must rise"),
        ({"strategy": "grid"}, "search.strategy"),
        ({"trails": 4}, "search.trails: unknown key. Did you mean 'trials'"),
        ({"trials": 0}, "search.trials"),
        ({"keep": 1}, "search.keep"),
    ],
)
def test_what_is_wrong_with_a_search_is_one_sentence(typed, sentence):
    with pytest.raises(SpecError, match=sentence):
        read_search(typed)
