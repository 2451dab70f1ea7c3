"""What tuning buys: against all subsets by hand, and shown only where settings were tried."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.chosen import chosen_settings, compared
from analysis.figures.size import size_data
from analysis.figures.tradeoff import score_against
from analysis.figures.tuning import tuning_curves
from analysis.frame import ordered
from analysis.load import load
from analysis.report.chart_data import chart_data
from analysis.report.content import sections
from analysis.tables.tuning import tuned, tuning_table
from analysis.verdict import verdicts
from harness.ledger.plan import Plan, Planned, write_plan
from harness.ledger.quantity import Measured
from harness.ledger.record import Failure, Record
from harness.ledger.store import Store

RATES = {1e-4: (0.60, 0.62), 1e-3: (0.80, 0.84), 1e-2: (0.70, 0.70)}  # validation score of two seeds


@pytest.fixture
def sweep(tmp_path: Path, study_records: Callable[..., Record]) -> Callable[..., Path]:
    """Writes a sweep of LoRA over three learning rates and two seeds; returns the runs folder."""

    def write(dataset: str = "mrpc", fail: tuple[tuple[float, int], ...] = ()) -> Path:
        store, planned = Store(tmp_path / "runs"), []
        for (lr, scores), seed in itertools.product(RATES.items(), (0, 1)):
            record = study_records("lora", "minilm", dataset, seed)
            spec = {**record.spec, "recipe": {**record.spec["recipe"], "lr": lr, "head_lr": lr}}
            metric = spec["dataset"]["metric"]
            val = {metric: Measured(scores[seed], "", 300)}
            seconds = {
                **record.seconds,
                "train": Measured(10.0, "s"),
                "wall": Measured(15.6 + 1e-3 * len(planned), "s"),
            }
            run_id = f"{len(planned):016x}"
            record = replace(record, id=run_id, spec=spec, scores={**record.scores, "val": val}, seconds=seconds)
            point = replace(record.curve[-1], train_seconds=9.0, val={metric: scores[seed]})
            speed = {**record.speed, "step_ms_p5": Measured(90.0, "ms", 80), "samples_per_s": Measured(320, "1/s", 80)}
            selected = {**record.selected, "value": scores[seed]}
            record = replace(record, curve=(point,), speed=speed, selected=selected)
            if (lr, seed) in fail:
                lost = Failure("diverged", "train", 3, "loss is nan")
                record = replace(record, status="failed", failure=lost, scores={}, curve=())
            choices = {"method": "lora", "model": "minilm", "dataset": dataset, "recipe.lr": str(lr), "seed": seed}
            planned.append(Planned(run_id, choices, spec))
            store.paths(run_id).folder.mkdir(parents=True)
            store.write(record)
        write_plan(tmp_path / "runs", Plan("tune", tuple(planned), (), {"control": "lora"}))
        return tmp_path / "runs"

    return write


def test_a_size_curve_has_the_rate_that_validation_prefers(sweep) -> None:
    (label,) = size_data(load("tune", sweep()))["method"]
    assert "recipe.lr=0.001" in label or "recipe.lr" not in label


def test_the_page_s_data_have_the_validation_score_of_each_setting(sweep) -> None:
    frame = load("tune", sweep(fail=((1e-2, 1),)), partial=True)
    found = {entry["keys"]["recipe.lr"]: entry["score"] for entry in chart_data(compared(frame), frame)["settings"]}
    assert found == {1e-4: pytest.approx(61.0), 1e-3: pytest.approx(82.0), 1e-2: None}


def test_the_expected_best_is_the_mean_over_all_ways_to_choose(sweep) -> None:
    (found,) = tuned(load("tune", sweep()))
    means = [100 * np.mean(scores) for scores in RATES.values()]
    for k in (1, 2, 3):
        by_hand = np.mean([max(chosen) for chosen in itertools.combinations(means, k)])
        assert found.expected(k) == pytest.approx(by_hand)
    assert found.settings[found.best] == "recipe.lr=0.001"
    assert found.seconds == 20.0  # two seeds of a setting


def test_the_table_says_what_validation_prefers_and_what_it_costs(sweep) -> None:
    table = tuning_table(load("tune", sweep()))
    assert table is not None
    assert [cell.text for cell in table.rows[0]][1:] == ["LoRA", "recipe.lr=0.001", "20.0", "71.00", "78.00", "82.00"]
    assert [head.label for head in table.heads][-3:] == ["best of 1", "best of 2", "best of 3"]
    assert not any("edge of the grid" in note for note in table.notes)


def test_a_setting_that_lost_a_seed_is_the_worst_and_is_said(sweep) -> None:
    frame = load("tune", sweep(fail=((1e-3, 1),)))
    table = tuning_table(frame)
    assert table is not None
    assert table.rows[0][2].text == "recipe.lr=0.01"
    assert table.rows[0][2].why == "1 of 3 settings lost a seed"
    assert table.rows[0][4].value == pytest.approx((61 + 61 + 70) / 3)
    assert any("edge of the grid" in note for note in table.notes)


def test_a_lower_perplexity_is_preferred(sweep) -> None:
    (found,) = tuned(load("tune", sweep(dataset="e2e")))
    assert found.settings[found.best] == "recipe.lr=0.0001"
    assert found.expected(3) == pytest.approx(0.61)
    assert found.expected(1) > found.expected(2) > found.expected(3)


def test_a_method_run_with_several_settings_is_nobodys_control(sweep) -> None:
    assert load("tune", sweep()).control is None


def test_a_sweep_that_tunes_is_judged_by_the_setting_that_validation_prefers(sweep) -> None:
    tried = load("tune", sweep())
    (verdict,) = verdicts(tried)
    assert verdict.sentences[0] == "Validation prefers LoRA recipe.lr=0.001."
    assert "one setting a method, chosen so of 3 tried, on test" in verdict.sentences[1]
    assert verdict.best == "LoRA"
    (table,) = next(section for section in sections(tried) if section.key == "tradeoff").tables
    assert [row[0].text for row in table.rows] == ["LoRA"]
    assert any("recipe.lr=0.001, chosen on validation of 3 settings tried" in note for note in table.notes)


def test_settings_of_recipe_and_method_together_are_chosen_among_alike(sweep) -> None:
    frame = load("tune", sweep())
    both = frame.rows["setting"] + ", method.update.rank=8"
    assert len(list(tuned(replace(frame, rows=frame.rows.assign(setting=both))))) == 1
    ranks = frame.rows["setting"].str.replace("recipe.lr", "method.update.rank")
    assert not list(tuned(replace(frame, rows=frame.rows.assign(setting=ranks))))  # ranks are compared, as methods are


def test_twenty_settings_leave_the_pictures_readable(written) -> None:
    """The legend grows downwards: panels keep their size, and nothing overlaps (a warning would fail this test)."""

    frame = load("tiny", written(blocks=(("minilm", "mrpc"),)))
    rows = [frame.rows.assign(label=frame.rows["label"] + f" (recipe.lr=0.{i:04d})") for i in range(5)]
    methods = tuple(dict.fromkeys(name for part in rows for name in part["label"]))
    many = replace(frame, rows=ordered(pd.concat(rows, ignore_index=True), frame.blocks, methods), methods=methods)
    picture = score_against(many, "train_s")
    assert len(picture.data) == 20
    (legend,) = picture.laid_out.legends
    assert legend.get_window_extent().y1 <= picture.laid_out.axes[0].get_window_extent().y0


def test_the_picture_has_a_point_for_each_number_of_settings(sweep) -> None:
    picture = tuning_curves(load("tune", sweep()))
    assert picture is not None
    assert picture.data["seconds"].tolist() == [20.0, 40.0, 60.0]


def test_a_sweep_without_settings_has_no_such_table(written) -> None:
    frame = load("tiny", written())
    assert tuning_table(frame) is None
    assert tuning_curves(frame) is None


def test_of_several_settings_the_one_that_validation_prefers_is_compared(sweep: Callable[..., Path]) -> None:
    tried = load("tune", sweep())
    assert len(tried.methods) == 3
    frame = chosen_settings(tried)
    assert frame.methods == ("LoRA",) and frame.control == "LoRA"
    preferred = tried.rows[tried.rows["setting"] == "recipe.lr=0.001"]
    assert list(frame.rows["id"]) == list(preferred["id"])  # .80 and .84, whatever the test scores are
    assert frame.notes[-1] == "Minilm / MRPC, LoRA: recipe.lr=0.001, chosen on validation of 3 settings tried."
    assert frame.rows["score"].notna().all()


def test_a_setting_that_lost_a_seed_is_not_chosen(sweep: Callable[..., Path]) -> None:
    frame = chosen_settings(load("tune", sweep(fail=((1e-3, 1),))))
    assert set(frame.rows["setting"]) == {"recipe.lr=0.01"}


def test_lower_is_better_where_the_metric_says_so(sweep: Callable[..., Path]) -> None:
    frame = chosen_settings(load("tune", sweep("e2e")))
    assert set(frame.rows["setting"]) == {"recipe.lr=0.0001"}
