"""Tables of side records: G(W) with its interval, and which number predicts it, on gaps that were planted."""

import numpy as np
import pytest
from scipy import stats

import analysis
from analysis.report.content import sections
from analysis.stats.gap import gap_interval
from analysis.tables.generalization import gap_table, predictor_table
from tests.analysis.diagnosed_store import write_sides


@pytest.fixture
def frame(written):
    runs = written()
    write_sides(runs)
    return analysis.load("tiny", runs, partial=True, allow_mixed=True)


def test_the_gap_of_each_method_is_the_planted_one_inside_its_interval(frame):
    data = gap_table(frame).data
    assert len(data) == 8 and set(data["n"]) == {3}
    planted = data["method"].map({"Full fine-tuning": 0.4, "Head only": 0.01, "LoRA": 0.2, "cLA": 0.1})
    assert np.allclose(data["g"], planted) and np.allclose(data["gap"], -planted)
    assert ((data["low"] < data["gap"]) & (data["gap"] < data["high"])).all()


def test_the_number_that_orders_methods_as_the_gap_does_comes_first(frame):
    table = predictor_table(frame)
    assert table.data["number"].iloc[0] == "trained parameters of the adapter"
    taus = dict(zip(table.data["number"], table.data["tau"], strict=True))
    assert taus == {"trained parameters of the adapter": 1.0, "‖ΔW‖, Frobenius": -1.0}  # a constant orders nothing


def test_the_report_explains_it_only_where_runs_were_diagnosed(frame, written):
    keys = [section.key for section in sections(frame)]
    plain = analysis.load("tiny", written(), partial=True, allow_mixed=True)
    assert "generalization" in keys and "generalization" not in [section.key for section in sections(plain)]
    assert gap_table(plain) is None and predictor_table(plain) is None


def test_the_interval_of_one_seed_is_that_of_a_welch_test_on_many_examples():
    draw = np.random.default_rng(3)
    test, train = draw.normal(1.0, 0.5, 4000), draw.normal(0.7, 0.3, 3000)
    ours = gap_interval((test, np.ones(4000)), (train, np.ones(3000)), np.random.default_rng(0), reps=4000)
    theirs = stats.ttest_ind(test, train, equal_var=False).confidence_interval()
    assert ours.mean == pytest.approx(test.mean() - train.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=2e-3)


def test_an_example_of_many_tokens_weighs_as_many_times_as_much():
    losses, weights = [[2.0, 30.0]], [2, 10]  # 1 nat a token in the first, 3 in the second
    ours = gap_interval((losses, weights), ([[1.0]], [1]), np.random.default_rng(0), reps=500)
    assert ours.mean == pytest.approx(32 / 12 - 1)
    assert (ours.low, ours.high) == pytest.approx((0.0, 2.0))


def test_seeds_that_differ_widen_it():
    losses = np.random.default_rng(0).normal(1, 0.1, (1, 500)).repeat(3, 0)
    alike = gap_interval((losses, np.ones(500)), (losses, np.ones(500)), np.random.default_rng(0))
    moved = losses + np.array([[-0.2], [0.0], [0.2]])
    apart = gap_interval((moved, np.ones(500)), (losses, np.ones(500)), np.random.default_rng(0))
    assert apart.half > 5 * alike.half
    assert apart.half == pytest.approx(stats.t.ppf(0.975, 2) * 0.2 / np.sqrt(3), rel=0.1)
