"""Rules of thumb against hand-written scores: each verdict where it is known, with the interval of scipy behind it."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import analysis
from analysis.frame import Frame
from analysis.rank_rules import NO, OPEN, YES, _all, _below, judge
from analysis.report.content import _ranks
from harness.ledger.paths import RunPaths
from harness.ledger.side_record import SideRecord, write
from tests.analysis.rank_store import write_ranks

SEEDS = range(5)
EXAMPLE = Path(__file__).parent / "honest_runs" / "43f095a70a568b32"
NOISE = (0.0, 0.004, -0.004, 0.002, -0.002)
# cells: method, targets, rank, lr, test accuracy, validation accuracy, adapter parameters
LORA = [("lora", "q,v", rank, lr, score - 0.05 * (lr != 1e-2), score - 0.05 * (lr != 1e-2), 128 * rank)
        for rank, score in {4: 0.9, 16: 0.9, 32: 0.901, 64: 0.902}.items() for lr in (3e-3, 1e-2, 3e-2)]  # fmt: skip
FULL = [("full", "", 0, lr, 0.9, 0.9 - 0.1 * (lr != 1e-3), 100_000) for lr in (3e-4, 1e-3, 3e-3)]
SINGLE = [("lora", target, 8, 1e-2, 0.8, 0.8, 512) for target in "qv"]


def frame_of(cells, runs, dropped=None, seeds=SEEDS, direction="max"):
    """A loaded sweep of these cells; seeds differ by NOISE, alike in every cell, and by a little of the cell's own."""
    rows = []
    for number, (name, targets, rank, lr, test, val, parameters) in enumerate(cells):
        for seed in seeds:
            run_id, score = f"{number:08x}{seed:08x}", test + NOISE[seed] + 0.001 * ((number * 7 + seed * 3) % 4)
            rows.append({
                "id": run_id, "block": "b", "label": f"{number}", "method_name": name, "seed": seed, "status": "done",
                "done": True, "procedure": "" if name == "full" else "direct", "targets": targets, "start_rank": rank,
                "lr": lr, "val_score": val + NOISE[seed], "score": score, "shown": 100 * score, "score_unit": "",
                "score_n": 5000, "metric": "accuracy", "direction": direction, "adapter_params": float(parameters),
                "learns_ranks": False, "commit": "c", "fingerprint": "f", "device": "d",
            })  # fmt: skip
            if dropped is not None and number == 0:
                drops = [{"how": how, "kept": 0.05, "draw": 0, "test": test - lost + 0.001 * seed}
                         for how, lost in dropped.items()]  # fmt: skip
                (runs / run_id).mkdir()
                (runs / run_id / "record.json").write_text("{}")
                answer = {
                    "whole": {"test": test},
                    "served": [{"rank": 4, "test": test, "latency_ms": 2.0 + seed}],
                    "dropped": drops,
                }
                write(RunPaths(runs / run_id), SideRecord("shrunk", 1, run_id, {}, answer, {}))
    labels = tuple(str(number) for number in range(len(cells)))
    table, about = pd.DataFrame(rows), {"margin": 1.0, "control": None}
    return Frame("rank_rules", table, pd.DataFrame(), labels, ("b",), about, "digest", runs=runs)


def merged_pairs(frame, runs, lost):
    """A second task for each seed and each weight of the penalty, merged with the first: points lost, by both."""
    rows = []
    for number, (penalty, points) in enumerate(lost.items()):
        for seed in SEEDS:
            first, second = (frame.rows.iloc[seed]["id"], f"f{number:07x}{seed:08x}")
            write_record(runs / first, {"kind": "low_rank"})
            write_record(runs / second, {"kind": "orthogonal", "orthogonal": penalty})
            part = (points + NOISE[seed] * 100 + 0.1 * (number * seed % 3)) / 100
            scores = {
                run: {"own": {"test": {"accuracy": 0.9}}, "merged": {"test": {"accuracy": 0.9 - share}}}
                for run, share in ((first, 2 * part), (second, 0.0))
            }
            for weights in ((1.0, 1.0), (1.0, 9.0)):  # only those merged as equals count
                question = {"tasks": dict(zip(scores, weights, strict=True)), "parameters": 9, "merge": True}
                answer = {"merged": {"scores": scores if weights[1] == 1 else {}}}
                write(RunPaths(runs / second), SideRecord("budget", 1, second, question, answer, {}))
            cell = {"id": second, "source": first, "method_name": "lora_orthogonal", "procedure": "", "targets": "q"}
            rows.append(dict(frame.rows.iloc[seed]) | cell)
    table = pd.concat([frame.rows.assign(source=""), pd.DataFrame(rows)], ignore_index=True)
    return replace(frame, rows=table)


def write_record(folder, update):
    record = json.loads((EXAMPLE / "record.json").read_text())
    record["spec"]["method"]["update"] = update
    folder.mkdir(exist_ok=True)
    (folder / "record.json").write_text(json.dumps(record))


def test_the_penalty_is_held_against_the_same_run_without_it(tmp_path):
    frame = merged_pairs(frame_of(LORA, tmp_path), tmp_path, {0.0: 6.0, 0.5: 2.0})
    row = verdicts(frame)[ORTHOGONAL]
    expected = np.array([4.0 - 0.1 * (seed % 3) for seed in SEEDS])
    low, high = stats.t.interval(0.95, 4, expected.mean(), stats.sem(expected))
    assert row.verdict == YES and (row.estimate.mean, row.estimate.low, row.estimate.high) == pytest.approx(
        (expected.mean(), low, high), rel=1e-6
    )
    (tmp_path / "none").mkdir()
    worse = merged_pairs(frame_of(LORA, tmp_path / "none"), tmp_path / "none", {0.0: 2.0, 0.5: 6.0})
    assert verdicts(worse)[ORTHOGONAL].verdict == NO


def verdicts(frame):
    return {row.rule: row for row in judge(frame)}


def test_each_rule_that_can_be_tested_has_its_verdict(tmp_path):
    cells = [*LORA, *FULL, *SINGLE]
    frame = frame_of(cells, tmp_path, dropped={"random": 0.5, "magnitude": 0.001})
    found = verdicts(frame)
    assert {rule: row.verdict for rule, row in found.items()} == {
        "MLP wants more rank than attention": OPEN,
        "simple tasks are served by ranks 4 to 16": YES,
        "the score saturates in the rank": YES,
        "the best rate is about ten times full fine-tuning's": YES,
        "95 % of an adapter's parameters can be dropped (random)": NO,
        "95 % of an adapter's parameters can be dropped (magnitude)": YES,
        "q and v beat one matrix at the same budget": YES,
        "an orthogonality penalty lowers the interference of merged task adapters": OPEN,
    }
    gain = found["the score saturates in the rank"].estimate
    at = {rank: frame.rows[(frame.rows["start_rank"] == rank) & (frame.rows["lr"] == 1e-2)].set_index("seed")["shown"]
          for rank in (32, 64)}  # fmt: skip
    difference = (at[64] - at[32]).to_numpy()
    low, high = stats.t.interval(0.95, 4, difference.mean(), stats.sem(difference))
    assert (gain.mean, gain.low, gain.high, gain.n) == pytest.approx((np.mean(difference), low, high, 5))
    table = analysis.rules_table(frame)
    (row,) = analysis.served_table(frame).rows
    assert [cell.value for cell in row[2:]] == [4.0, pytest.approx(85), pytest.approx(4.0)]
    picture = analysis.rank_served(frame)
    assert picture.data.iloc[0][["rank", "score", "latency_ms", "n"]].tolist() == [4, pytest.approx(85), 4.0, 5]
    assert "at rank 4: 85.0 in 4.00 ms" in picture.alt
    (axis,) = picture.figure.axes
    assert axis.lines[0].get_xydata().tolist() == [[4.0, pytest.approx(85)]] and axis.texts[0].get_text() == "4"
    assert len(table.rows) == 8 and [row[2].text for row in table.rows].count(YES) == 5


def test_a_rule_fails_where_the_interval_lies_on_the_other_side(tmp_path):
    scores = {4: 0.7, 16: 0.8, 64: 0.9}
    rising = [("lora", "q,v", rank, 1e-2, score, score, 128 * rank) for rank, score in scores.items()]
    same = [("full", "", 0, lr, 0.9, 0.9 - 0.1 * (lr != 1e-1), 9) for lr in (1e-3, 1e-2, 1e-1, 1.0)]
    low = [("lora", "q,v", 2, lr, 0.5, 0.95 - 0.1 * (lr != 1e-3), 256) for lr in (1e-4, 1e-3, 3e-3, 3e-2)]
    single = [("lora", "v", 4, 1e-3, 0.95, 0.95, 256)]
    found = verdicts(frame_of([*rising, *same, *low, *single], tmp_path))
    assert found["simple tasks are served by ranks 4 to 16"].verdict == NO
    assert found["the score saturates in the rank"].verdict == NO
    assert found["the best rate is about ten times full fine-tuning's"].verdict == NO
    assert found["q and v beat one matrix at the same budget"].verdict == NO


ORTHOGONAL = "an orthogonality penalty lowers the interference of merged task adapters"
RATE_RULE = "the best rate is about ten times full fine-tuning's"


def test_of_a_loss_the_lowest_counts_at_every_rank_and_rate(tmp_path):
    """The best loss of LoRA is at 1e-2, by rank 4; rank 64 is poor everywhere and worst there."""
    losses = {4: (0.5, 0.2, 0.4), 16: (0.6, 0.5, 0.55), 64: (0.7, 0.9, 0.8)}
    at = [(rank, lr, values[place]) for rank, values in losses.items() for place, lr in enumerate((3e-3, 1e-2, 3e-2))]
    lora = [("lora", "q,v", rank, lr, loss, loss, 128 * rank) for rank, lr, loss in at]
    full = [("full", "", 0, lr, 0.3, 0.3 + 0.1 * (lr != 1e-3), 9) for lr in (3e-4, 1e-3, 3e-3)]
    found = verdicts(frame_of([*lora, *full], tmp_path, direction="min"))
    assert (found[RATE_RULE].verdict, found[RATE_RULE].estimate.mean) == (YES, pytest.approx(1.0))
    small = found["simple tasks are served by ranks 4 to 16"]
    assert small.verdict == YES and small.estimate.mean == pytest.approx(-50, abs=0.5), "rank 64's own best less rank 4"


def test_a_best_rate_at_an_end_of_its_grid_decides_nothing(tmp_path):
    cut = [cell for cell in LORA if cell[3] <= 1e-2] + [("lora", "q,v", 4, 1e-3, 0.8, 0.8, 512)]
    row = verdicts(frame_of([*cut, *FULL], tmp_path))[RATE_RULE]
    assert row.verdict == OPEN and row.estimate.mean == pytest.approx(1.0) and "at an end of its grid" in row.test


def test_relatives_of_lora_and_worse_settings_of_it_have_no_part_in_its_rules(tmp_path):
    relatives = [(name, "q,v", rank, 1e-2, 0.99, 0.99, 64 * rank) for name in ("asym", "rslora") for rank in (4, 64)]
    worse = [("lora", "q,v", 64, 1e-2, 0.1, 0.1, 128 * 64)]  # of another alpha, say: validation prefers the other
    alone, among = (verdicts(frame_of([*LORA, *more], tmp_path)) for more in ((), (*relatives, *worse)))
    for rule, row in alone.items():
        assert (row.verdict, row.estimate) == (among[rule].verdict, among[rule].estimate), rule


def test_test_scores_of_settings_that_validation_does_not_prefer_change_nothing(tmp_path):
    """They are made perfect: what is judged is chosen on validation, and only then held against test."""
    cells = [(*cell[:5], cell[5] - 0.05 * (cell[2] == 16), cell[6]) for cell in [*LORA, *FULL, *SINGLE]]
    frame = frame_of(cells, tmp_path)
    worse = (frame.rows["method_name"] == "lora") & (frame.rows["lr"] != 1e-2) | (frame.rows["start_rank"] == 16)
    rows = frame.rows.assign(shown=frame.rows["shown"].mask(worse, 100.0), score=frame.rows["score"].mask(worse, 1.0))
    clean, poisoned = verdicts(frame), verdicts(replace(frame, rows=rows))
    decided = [rule for rule, row in clean.items() if row.estimate is not None]
    assert len(decided) == 4 and rows["shown"].gt(99.9).sum() == worse.sum() > len(SEEDS)
    for rule in decided:
        assert (poisoned[rule].verdict, poisoned[rule].estimate) == (clean[rule].verdict, clean[rule].estimate), rule


def test_one_of_several_comparisons_is_no_only_where_it_is_so_for_their_number():
    """p = 0.04 for one of two: below 5 % alone, not below 5 % / 2. A yes needs every one at 5 %."""
    noise = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    above = noise + stats.t.ppf(1 - 0.04 / 2, 4) * stats.sem(noise)
    judge_one = partial(_below, limit=0.0)
    assert _all([above], 0.0, judge_one) == NO and _all([above, noise], 0.0, judge_one) == OPEN
    assert _all([-above, -above], 0.0, judge_one) == YES and _all([above + 1, noise], 0.0, judge_one) == NO


def test_two_seeds_say_nothing(tmp_path):
    few = frame_of([*LORA, *FULL, *SINGLE], tmp_path, seeds=SEEDS[:2])
    assert {row.verdict for row in judge(few)} == {OPEN}


def test_learned_ranks_decide_about_attention_and_mlp_and_a_sweep_without_any_has_no_table(study_records, tmp_path):
    write_ranks(tmp_path / "a", study_records)
    frame = analysis.load("ranks", tmp_path / "a", allow_mixed=True)
    row = verdicts(frame)["MLP wants more rank than attention"]
    assert row.verdict == YES and row.estimate.mean == pytest.approx(-2 + 0.2 / 3), "stable ranks are no count"
    write_ranks(tmp_path / "b", study_records, methods=("lora",), name="plain")
    assert analysis.rules_table(analysis.load("plain", tmp_path / "b", allow_mixed=True)) is None


def test_the_report_judges_all_rates_that_were_tried_and_not_the_chosen_ones(tmp_path):
    frame = frame_of([*LORA, *FULL], tmp_path)
    chosen = replace(frame, rows=frame.rows[frame.rows["lr"].isin((1e-2, 1e-3))])
    (table,) = [table for table in _ranks(chosen, frame).tables if table.name == "rank-rules"]
    verdicts = table.data.set_index("rule")["verdict"]
    assert verdicts[RATE_RULE] == YES and OPEN in set(verdicts)
