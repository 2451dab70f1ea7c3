"""Tables of side records: G(W) with its interval, and which number predicts it, on gaps that were planted."""

import numpy as np
import pytest
from scipy import stats

import analysis
from analysis.diagnoses import side_records
from analysis.figures.intruders import intruder_curves
from analysis.figures.landscapes import (
    landscape_contours,
    landscape_curves,
    landscape_data,
    landscape_paths,
    landscape_surfaces,
)
from analysis.report.content import sections
from analysis.stats.gap import gap_interval
from analysis.tables.curvature import curvature_table
from analysis.tables.generalization import gap_table
from analysis.tables.geometry import geometry_table
from analysis.tables.predictors import predictor_table
from harness.ledger.side_record import SideRecord, write
from harness.ledger.store import Store
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
    assert taus == {  # a constant orders nothing
        "trained parameters of the adapter": 1.0,
        "λ_max of the Hessian": 1.0,
        "mean rise on a ring": 1.0,
        "‖ΔW‖, Frobenius": -1.0,
    }


def test_the_report_explains_it_only_where_runs_were_diagnosed(frame, written):
    keys = [section.key for section in sections(frame)]
    plain = analysis.load("tiny", written(), partial=True, allow_mixed=True)
    assert "generalization" in keys and "generalization" not in [section.key for section in sections(plain)]
    assert gap_table(plain) is None and predictor_table(plain) is None


def test_of_two_questions_the_one_that_most_runs_answered_counts_then_the_larger(written):
    runs = written()
    write_sides(runs)
    store = Store(runs)
    ids = [record.id for record in store.records()]

    def ask(some, rows):
        for run_id in some:
            question = {"checkpoint": "selected", "rows": rows}
            write(store.paths(run_id), SideRecord("bounds", 1, run_id, question, {"parameters": float(rows)}, {}))

    def counted():
        frame = analysis.load("tiny", runs, partial=True, allow_mixed=True)
        return {side.question["rows"] for _, side in side_records(frame, "bounds")}

    ask(ids[1:], 3000)
    assert counted() == {2000}
    ask(ids[:1], 3000)
    ask(ids, 200)
    assert counted() == {3000}


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


def test_geometry_and_intruders_are_means_over_seeds_with_their_range(written):
    """Methods that changed no weight are in no row; a curve is the mean over weights, then over seeds."""
    runs = written()
    store = Store(runs)
    for record in store.records():
        method, seed = record.spec["method"]["name"], record.spec["seed"]
        ranks = {"stable_rank": 1.5 + seed, "numerical_rank": 8.0, "relative_norm": 0.01}
        still = dict.fromkeys(ranks, 0.0)
        weights = [{"first": [0, seed, 4]}, {"first": [0, seed + 2, 6]}]
        answers = {
            "geometry": still if method == "head" else ranks,
            "intruders": {"thresholds": [0.0, 0.5, 1.0], "weights": weights},
        }
        for kind, answer in answers.items():
            write(store.paths(record.id), SideRecord(kind, 1, record.id, {"checkpoint": "selected"}, answer, {}))
    frame = analysis.load("tiny", runs, partial=True, allow_mixed=True)
    data = geometry_table(frame).data
    assert len(data) == 6 and "Head only" not in set(data["method"])
    assert np.allclose(data[["stable_rank", "stable_rank_lowest", "stable_rank_highest"]], [2.5, 1.5, 3.5])
    assert np.allclose(data["relative_norm"], 1.0)  # percent
    curve = intruder_curves(frame).data.query("method == 'LoRA'").groupby("threshold")[["mean", "lowest", "highest"]]
    assert np.allclose(curve.mean(), [[0, 0, 0], [2, 1, 3], [5, 5, 5]])


def test_the_curvature_of_each_method_has_its_range_and_a_missing_kind_is_a_dash(frame, written):
    data = curvature_table(frame).data.set_index(["block", "method"]).xs("LoRA", level="method")
    ends = data[["largest_eigenvalue", "largest_eigenvalue_lowest", "largest_eigenvalue_highest"]]
    assert np.allclose(ends, [3.0, 2.0, 4.0]) and np.allclose(data["ring_rise"], 0.05)
    runs = written()
    for record in Store(runs).records():
        side = SideRecord("curvature", 1, record.id, {"checkpoint": "selected"}, {"largest_eigenvalue": 2.0}, {})
        write(Store(runs).paths(record.id), side)
    alone = curvature_table(analysis.load("tiny", runs, partial=True, allow_mixed=True))
    assert {row[-1].text for row in alone.rows} == {"–"}


def test_curvature_is_in_the_order_of_blocks_and_methods(frame):
    data = curvature_table(frame).data
    cells = [(block, method) for block in frame.blocks for method in frame.methods_of(block)]
    assert list(zip(data["block"], data["method"], strict=True)) == cells and len(cells) == 8


def test_landscapes_are_drawn_of_what_was_planted(frame):
    """A bowl that rises by its height times the squared radius, in every direction."""
    heights = {"Full fine-tuning": 0.4, "Head only": 0.01, "LoRA": 0.2, "cLA": 0.1}
    data = landscape_data(frame)
    assert np.allclose(data["rise"], data["method"].map(heights) * (data["x"] ** 2 + data["y"] ** 2))
    curves = landscape_curves(frame).data
    assert sorted(set(curves["x"].round(9))) == [-1.0, -0.5, 0.0, 0.5, 1.0]
    for picture in (landscape_contours(frame), landscape_surfaces(frame, frame.blocks[1])):
        assert "<svg" in picture.svg and "Largest rise 0.40" in picture.alt
    paths = landscape_paths(frame)
    assert set(paths.data["point"]) == {"selected", "start", "last"} and "direction 1 (80 %)" in paths.svg
    assert landscape_contours(frame, "no such block") is None
