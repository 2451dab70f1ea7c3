"""Tables and pictures of learned ranks, against numbers that are known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import analysis
from analysis.checks.sweep import check_sweep
from analysis.figures.learned_ranks import rank_data
from analysis.figures.rank_advice import retention_curves
from analysis.learned_ranks import place_of, ranks_of
from analysis.report.content import sections
from analysis.tables.ranks import more_rank, sides
from harness.ledger.plan import read_plan, write_plan
from harness.ledger.state import record_in
from tests.analysis.rank_store import SEEDS, TARGETS, rank_of, write_ranks


@pytest.fixture(scope="module")
def frame(study_records, tmp_path_factory):
    runs = tmp_path_factory.mktemp("ranks")
    write_ranks(runs, study_records)
    return analysis.load("ranks", runs, allow_mixed=True)


def test_weights_are_named_by_layer_and_module_and_the_longest_address_wins():
    for target, address in TARGETS.items():
        assert place_of(f"bert.encoder.layer.11.{address}", TARGETS) == (11, target)
    assert place_of("h.3.attn.c_attn[1/3]", {"q": "attn.c_attn[0/3]", "k": "attn.c_attn[1/3]"}) == (3, "k")
    assert place_of("bert.pooler.dense", TARGETS) is None


def test_ranks_that_a_schedule_selected_are_counts(study_records):
    plain = study_records("lora", "minilm", "mrpc", 0)
    spec = plain.spec | {"model": plain.spec["model"] | {"targets": TARGETS}}
    selected = {
        "event": "selected",
        "step": 5,
        "ranks": {"bert.encoder.layer.1.output.dense": 3, "bert.pooler.dense": 2},
    }
    assert ranks_of(replace(plain, spec=spec, links=(selected,))) == [(1, "down", "rank", 3.0)]
    assert ranks_of(replace(plain, links=())) == []


def test_seeds_with_other_parameter_counts_are_suspicious_unless_ranks_are_learned(frame):
    counts = frame.rows["seed"] + 1000.0
    odd = replace(frame, rows=frame.rows.assign(trainable_params=counts))
    plain = replace(frame, rows=odd.rows.assign(learns_ranks=False))
    said = [sum("different numbers" in f.what for f in check_sweep(each)) for each in (odd, plain)]
    assert said == [1, 3], "of SoRA, LR-LoRA and the control, which learns none"


def test_the_map_is_the_mean_over_seeds_of_each_weight(frame):
    data = rank_data(frame)
    assert set(data["label"]) == {"SoRA", "LR-LoRA (reading)"} and set(data["n"]) == {3}
    for row in data.itertuples():
        name = "sora" if row.label == "SoRA" else "lr_lora"
        assert row.rank == pytest.approx(np.mean([rank_of(name, s, row.layer, row.target) for s in SEEDS]))
        assert row.measure == ("rank" if name == "sora" else "stable_rank")
    picture = analysis.rank_map(frame)
    assert "most in down of layer 1, 5.0" in picture.alt and "stable rank" in picture.svg


def test_the_map_has_each_rank_in_the_cell_of_its_layer_and_module(frame):
    data, panels = rank_data(frame), [axis for axis in analysis.rank_map(frame).figure.axes if axis.images]
    assert len(panels) == 2
    for axis, (_, cells) in zip(panels, data.groupby("label", sort=False), strict=True):
        layers, modules = (
            [tick.get_text() for tick in ticks] for ticks in (axis.get_yticklabels(), axis.get_xticklabels())
        )
        assert modules == ["q", "v", "o", "down"] and layers == ["0", "1"]
        written = {text.get_position(): text.get_text() for text in axis.texts}
        for row in cells.itertuples():
            place = (layers.index(str(row.layer)), modules.index(row.target))
            assert axis.images[0].get_array()[place] == pytest.approx(row.rank)
            assert written[place[::-1]] == f"{row.rank:.1f}"


def test_the_bars_are_the_differences_with_their_intervals(frame):
    (axis,) = analysis.side_bars(frame).figure.axes
    names = {place: tick.get_text() for place, tick in zip(axis.get_yticks(), axis.get_yticklabels(), strict=True)}
    points = {names[y]: x for line in axis.lines for x, y in line.get_xydata() if line.get_marker() == "o"}
    bars = {names[low[1]]: (low[0], high[0]) for low, high in axis.collections[0].get_segments()}
    for row in sides(frame).itertuples():
        assert points[row.label] == pytest.approx(row.difference)
        assert bars[row.label] == pytest.approx((row.low, row.high))


def test_a_retention_curve_is_the_share_of_squares_that_a_rank_holds_median_over_layers():
    spectra = {"q": ([3.0, 1.0], [1.0, 1.0], [2.0, 1.0]), "down": ([2.0, 1.0, 1.0],)}
    sites = [{"target": kind, "spectra": {"adapter": s}} for kind, of in spectra.items() for s in of]
    picture = retention_curves(sites, 0.9)
    (axis,) = picture.figure.axes
    q, down, asked = (line.get_xydata().tolist() for line in axis.lines)
    assert q == [[1, 80], [2, 100]], "9/10, 1/2 and 4/5: the median, not the mean"
    assert np.allclose(down, [[1, 400 / 6], [2, 500 / 6], [3, 100]]) and {y for _, y in asked} == {90}


def test_attention_less_mlp_has_the_t_interval_over_seeds_of_scipy(frame):
    data = sides(frame).set_index("label")
    values = []
    for seed in SEEDS:
        ranks = {t: [rank_of("sora", seed, layer, t) for layer in range(2)] for t in TARGETS}
        values.append(np.mean([ranks[t] for t in ("q", "v", "o")]) - np.mean(ranks["down"]))
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    row = data.loc["SoRA"]
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((np.mean(values), low, high))
    table = analysis.side_table(frame)
    assert [row[-1].text for row in table.rows] == ["MLP", "not told apart"]
    assert more_rank(float("nan"), float("nan")) == "not enough runs" and more_rank(0.1, 0.2) == "attention"
    assert "SoRA" in analysis.side_bars(frame).svg


def test_the_table_of_strategies_has_score_cost_and_the_mean_learned_rank(frame):
    table = analysis.strategy_table(frame)
    ranks = [rank_of("sora", s, layer, t) for s in SEEDS for layer in range(2) for t in TARGETS]
    learned = {row[1].text: row[-1].value for row in table.rows}
    assert learned == {
        "LoRA": None, "SoRA": pytest.approx(np.mean(ranks)), "LR-LoRA (reading)": pytest.approx(1.5)
    }  # fmt: skip
    assert all(row[2].value is not None and row[3].value for row in table.rows) and len(table.data) == 9


def test_what_a_search_took_stands_beside_the_strategy_whose_ranks_it_chose(study_records, tmp_path):
    write_ranks(tmp_path, study_records)
    plan = read_plan(tmp_path, "ranks")
    chosen, *others = [run for run in plan.runs if run.choices["method"] == "lora"]
    tried = replace(plan, name="search-12345678", runs=(others[0], chosen, *plan.runs[-2:]))
    write_plan(tmp_path, replace(tried, about={"search": {"best": chosen.id}}))
    frame = analysis.load("ranks", tmp_path, allow_mixed=True)
    spent = [record_in(tmp_path / run.id).seconds["train"].value for run in (others[0], *plan.runs[-2:])]
    searched = {row[1].text: row[-2].value for row in analysis.strategy_table(frame).rows}
    assert searched == {"LoRA": pytest.approx(sum(spent)), "SoRA": 0, "LR-LoRA (reading)": 0}


def test_what_the_runs_took_that_a_strategy_starts_from_stands_beside_it(frame):
    rows = frame.rows.assign(source="")
    ids = {label: rows.index[rows["label"] == label] for label in ("LoRA", "SoRA")}
    rows.loc[ids["SoRA"], "source"] = rows.loc[ids["LoRA"], "id"].to_numpy()
    searched = {row[1].text: row[-2].value for row in analysis.strategy_table(replace(frame, rows=rows)).rows}
    spent = rows.loc[ids["LoRA"], "train_s"].mean()
    assert searched == {"LoRA": 0, "SoRA": pytest.approx(spent), "LR-LoRA (reading)": 0} and spent > 0


def test_the_report_has_the_section_only_where_ranks_were_learned(frame, study_records, tmp_path):
    assert "ranks" in [section.key for section in sections(frame)]
    write_ranks(tmp_path, study_records, methods=("lora",), name="plain")
    plain = analysis.load("plain", tmp_path, allow_mixed=True)
    assert "ranks" not in [section.key for section in sections(plain)]
    assert analysis.strategy_table(plain) is analysis.side_table(plain) is analysis.rank_map(plain) is None
