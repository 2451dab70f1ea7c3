"""Greedy and exact ranks under a budget, against trying everything."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.ledger.errors import SpecError
from harness.planning import budget
from harness.planning.budget import captured, exact, greedy, parameters, uniform

WEIGHT = st.tuples(st.lists(st.integers(0, 50), min_size=1, max_size=4), st.integers(1, 9))


def problem(weights):
    """Gains that fall, and costs."""
    gains = {number: sorted(values, reverse=True) for number, (values, _) in enumerate(weights)}
    return gains, {number: cost for number, (_, cost) in enumerate(weights)}


@given(st.lists(WEIGHT, min_size=1, max_size=4), st.integers(0, 60))
def test_exact_is_the_best_of_all_ranks_and_greedy_stays_within_one_component_of_it(weights, more):
    gains, costs = problem(weights)
    limit = sum(costs.values()) + more
    possible = [
        dict(enumerate(ranks))
        for ranks in product(*(range(1, len(values) + 1) for values in gains.values()))
        if parameters(dict(enumerate(ranks)), costs) <= limit
    ]
    best = max(captured(gains, ranks) for ranks in possible)
    for ranks in (exact(gains, costs, limit), greedy(gains, costs, limit), uniform(gains, costs, limit)):
        assert parameters(ranks, costs) <= limit
        assert all(1 <= rank <= len(gains[key]) for key, rank in ranks.items())
    assert captured(gains, exact(gains, costs, limit)) == pytest.approx(best, abs=1e-9)
    largest = max((value for values in gains.values() for value in values[1:]), default=0.0)
    assert captured(gains, greedy(gains, costs, limit)) >= best - largest - 1e-9


def test_greedy_may_miss_what_exact_finds():
    """The best per parameter comes first, and then the better pair no longer fits."""
    gains, costs = {"small": [9.0, 1.1], "wide": [9.0, 5.0]}, {"small": 1, "wide": 5}
    assert greedy(gains, costs, 11) == {"small": 2, "wide": 1}
    assert exact(gains, costs, 11) == {"small": 1, "wide": 2}


def test_of_equal_costs_both_are_the_best():
    gains = {"a": [4.0, 3.0, 0.1], "b": [2.0, 1.9, 1.8], "c": [0.2, 0.1]}
    costs = dict.fromkeys(gains, 7)
    assert greedy(gains, costs, 42) == exact(gains, costs, 42) == {"a": 2, "b": 3, "c": 1}
    assert uniform(gains, costs, 42) == {"a": 2, "b": 2, "c": 2}
    assert gains == {"a": [4.0, 3.0, 0.1], "b": [2.0, 1.9, 1.8], "c": [0.2, 0.1]}, "its input is left alone"


@pytest.mark.parametrize("way", [greedy, exact, uniform])
def test_less_than_rank_1_for_all_is_a_sentence(way):
    with pytest.raises(SpecError, match="--parameters 5: rank 1 of all 2 weights takes 6; allow that many"):
        way({"a": [1.0, 0.5], "b": [1.0]}, {"a": 2, "b": 4}, 5)
    assert way({"a": [1.0, 0.5], "b": [1.0]}, {"a": 2, "b": 4}, 6) == {"a": 1, "b": 1}


def test_a_table_that_is_too_large_is_not_made(monkeypatch):
    monkeypatch.setattr(budget, "MOST_CELLS", 10)
    gains, costs = {"a": [1.0, 0.5], "b": [1.0]}, {"a": 2, "b": 4}
    wide = {"a": [1.0] * 60, "b": [1.0]}
    assert exact(wide, costs, 100) is None and exact(gains, costs, 10) == {"a": 2, "b": 1}
    assert exact(gains, costs, 10**12) == {"a": 2, "b": 1}, "more than all components cost needs no table"
