"""Best learning rate against the curvature at the start, on numbers that were planted."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy import stats

import analysis
from analysis.stats.rank_correlation import kendall, spearman
from analysis.tables.lr_curvature import lr_points, lr_table
from harness.ledger.plan import Plan, Planned, write_plan
from harness.ledger.quantity import Measured
from harness.ledger.side_record import SideRecord, write
from harness.ledger.store import Store

RATES = (1e-4, 1e-3, 1e-2)
BEST = {"lora": 1e-2, "asym": 1e-3, "cla": 1e-4}  # the sharper at the start, the lower
SHARP = {"lora": 2.0, "asym": 20.0, "cla": 200.0}


@pytest.fixture
def frame(tmp_path, study_records):
    store, planned = Store(tmp_path / "runs"), []
    for method, lr, seed in product(BEST, RATES, (0, 1)):
        record = study_records(method, "minilm", "mrpc", seed)
        spec = {**record.spec, "recipe": {**record.spec["recipe"], "lr": lr, "head_lr": lr}}
        metric, run_id = spec["dataset"]["metric"], f"{len(planned):016x}"
        score = round(0.8 - 0.1 * abs(float(np.log10(lr / BEST[method]))), 6)
        took = {"train": Measured(10.0, "s"), "wall": Measured(15.6 + 1e-3 * len(planned), "s")}
        speed = {"step_ms_p5": Measured(90.0, "ms", 80), "samples_per_s": Measured(320, "1/s", 80)}
        record = replace(
            record,
            id=run_id,
            spec=spec,
            scores={**record.scores, "val": {metric: Measured(score, "", 300)}},
            seconds={**record.seconds, **took},
            speed={**record.speed, **speed},
            curve=(replace(record.curve[-1], train_seconds=9.0, val={metric: score}),),
            selected={**record.selected, "value": score},
        )
        store.paths(run_id).folder.mkdir(parents=True)
        store.write(record)
        choices = {"method": method, "model": "minilm", "dataset": "mrpc", "recipe.lr": str(lr), "seed": seed}
        planned.append(Planned(run_id, choices, spec))
        answer = {"start_eigenvalue": SHARP[method] + seed, "parameters": 10}
        write(store.paths(run_id), SideRecord("start", 1, run_id, {"checkpoint": "selected"}, answer, {}))
    write_plan(tmp_path / "runs", Plan("rates", tuple(planned), (), {}))
    return analysis.load("rates", tmp_path / "runs", partial=True, allow_mixed=True)


def test_the_best_rate_stands_beside_the_eigenvalue_that_was_planted(frame):
    assert set(frame.rows["status"]) == {"done"}, frame.rows["reason"].iloc[0]
    points = lr_points(frame)
    assert dict(zip(points["method"], points["lr"], strict=True)) == BEST and set(points["rates"]) == {3}
    assert np.allclose(points["eigenvalue"], [SHARP[method] + 0.5 for method in points["method"]])
    assert set(points.loc[~points["at_the_edge"], "method"]) == {"asym"}
    table = lr_table(frame)
    assert table is not None
    assert any("Spearman's ρ -1.00, Kendall's τ -1.00 over 3 methods" in note for note in table.notes)


def test_a_sweep_without_the_kind_has_no_such_table(written):
    assert lr_table(analysis.load("tiny", written(), partial=True, allow_mixed=True)) is None


def test_correlations_are_those_of_scipy():
    x, y = np.random.default_rng(0).normal(size=(2, 9))
    y[:2] = y[0]
    assert kendall(x, y).mean == pytest.approx(stats.kendalltau(x, y).statistic)
    assert spearman(x, y).mean == pytest.approx(stats.spearmanr(x, y).statistic)
    assert not np.isfinite(spearman(x, np.ones(9)).mean) and not kendall(x[:4], y[:4]).known


@pytest.mark.parametrize("of", [spearman, kendall])
def test_intervals_hold_the_truth_about_as_often_as_they_say(of):
    """Normal pairs of correlation 0.5: tau is 2/π·asin(0.5) = 1/3, Spearman's rho 6/π·asin(0.25)."""
    truth = {spearman: 6 / np.pi * np.arcsin(0.25), kendall: 1 / 3}[of]
    draw = np.random.default_rng(1).multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], size=(300, 20))
    inside = [of(pairs[:, 0], pairs[:, 1]) for pairs in draw]
    assert 0.90 <= np.mean([estimate.low <= truth <= estimate.high for estimate in inside]) <= 0.99
