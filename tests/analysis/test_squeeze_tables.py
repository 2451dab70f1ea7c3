"""LoRA-Squeeze from records: procedures by final rank, gains, variance kept, and ours beside the printed values."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import analysis
from analysis.figures.kept import kept_data
from analysis.figures.size import size_data
from analysis.procedure import procedure
from analysis.report.content import sections
from harness.ledger.record import Record
from tests.analysis.squeeze_store import CELLS, KEPT, SCORE, SEEDS, score_of, write_squeezed


@pytest.fixture
def squeezed(study_records: Callable[..., Record], tmp_path: Path) -> Callable[..., analysis.Frame]:
    def load(**changes: object) -> analysis.Frame:
        write_squeezed(tmp_path, study_records, **changes)  # type: ignore[arg-type]
        return analysis.load("squeeze_tiny", tmp_path, allow_mixed=True)

    return load


def mean_of(cell: str, dataset: str = "piqa") -> float:
    return 100 * float(np.mean([score_of(cell, dataset, seed) for seed in SEEDS]))


def test_procedures_stand_by_final_rank_under_the_papers_names(squeezed) -> None:
    table = analysis.procedure_table(squeezed())
    heads = [head.label for head in table.heads]
    assert heads == [
        "model / dataset", "final rank", "Direct", "Direct +200", "Cont +0", "Cont +200", "In-standard", "In-minimum",
    ]  # fmt: skip
    found = {(r.block, r.rank, r.procedure): r for r in table.data.itertuples(index=False)}
    piqa = next(block for block, *_ in found if "PIQA" in block)
    names = {
        "Direct": "lora@1",
        "Direct +200": "lora@1+200",
        "Cont +0": "squeeze_post@1",
        "Cont +200": "squeeze_cont@1",
        "In-standard": "squeeze_in@1",
        "In-minimum": "squeeze_in_min@1",
    }
    for name, cell in names.items():
        assert found[piqa, 1, name].mean == pytest.approx(mean_of(cell)) and found[piqa, 1, name].n == 3
    assert found[piqa, 8, "Cont +0"].mean == pytest.approx(mean_of("squeeze_post@8"))
    assert {rank for _, rank, _ in found} == {1, 8, 128} and len(table.rows) == 6


def test_a_source_that_is_there_for_others_alone_is_no_procedure_and_counts_in_no_step(
    study_records: Callable[..., Record], tmp_path: Path
) -> None:
    """Cont-Squeeze with the steps of direct training in all: its shorter source would make that `Direct +200`."""
    write_squeezed(tmp_path, study_records, datasets=("piqa",), source_steps=800)
    frame = analysis.load("squeeze_tiny", tmp_path, allow_mixed=True)
    table = analysis.procedure_table(frame)
    assert [head.text for head in table.heads][2:] == [
        "Direct (1,000 steps)", "Direct +200 (1,200 steps)", "Cont +0 (800 + 0 steps)", "Cont +200 (800 + 200 steps)",
        "In-standard (1,200 steps)", "In-minimum (1,200 steps)",
    ]  # fmt: skip
    assert [row[1].text for row in table.rows] == ["1", "8"]
    assert [p for p in size_data(frame)["parameters"] if p > 512 * 8] == []


def test_procedures_from_several_ranks_and_in_several_variants_are_columns_of_their_own(squeezed) -> None:
    frame = squeezed(datasets=("piqa",))
    rows = frame.rows.copy()
    of_post = (rows["method_name"] == "squeeze_post") & (rows["end_rank"] == 8)
    rows.loc[of_post, ["end_rank", "start_rank"]] = 1, 64
    rows.loc[rows["procedure"] == "in-minimum", ["procedure", "variant"]] = "in-standard", "In-Squeeze (projected)"
    heads = [head.label for head in analysis.procedure_table(frame.reordered(rows)).heads]
    assert {"Cont +0 from 64", "Cont +0 from 128"} < set(heads) and "Cont +0" not in heads
    assert {"In-standard, In-Squeeze", "In-standard, In-Squeeze (projected)"} < set(heads)


def test_of_several_rates_of_direct_training_the_one_that_validation_prefers_is_shown(squeezed) -> None:
    frame = squeezed(datasets=("piqa",))
    rows = frame.rows.copy()
    longer = (rows["procedure"] == "direct") & (rows["own_steps"] == 1200)
    rows.loc[longer, "own_steps"] = 1000  # now a second setting of the recipe, which scores higher
    for better, cell in ((1.0, "lora@1+200"), (-1.0, "lora@1")):
        rows["val_score"] = np.where(longer, better, 0.0)
        table = analysis.procedure_table(frame.reordered(rows)).data
        direct = table[(table["rank"] == 1) & (table["procedure"] == "Direct")]
        assert list(direct["mean"]) == pytest.approx([mean_of(cell)]) and list(direct["n"]) == [3]


def test_the_report_has_a_section_for_squeezed_runs(squeezed) -> None:
    (section,) = (part for part in sections(squeezed()) if part.key == "squeeze")
    names = [table.name for table in section.tables]
    assert names == ["squeeze", "squeeze-gains", "lora-squeeze-table1", "lora-squeeze-table6"]
    assert [picture.name for picture in section.pictures] == ["size", "kept"]


def test_a_printed_table_without_a_counterpart_is_not_in_the_report(squeezed) -> None:
    (section,) = (part for part in sections(squeezed(size="tiny")) if part.key == "squeeze")
    assert [table.name for table in section.tables] == ["squeeze", "squeeze-gains"]


def test_a_gain_is_paired_over_seeds_with_its_interval(squeezed) -> None:
    data = analysis.gains_table(squeezed()).data
    row = data[data["block"].str.contains("PIQA") & (data["rank"] == 8)].iloc[0]
    pairs = [100 * (score_of("squeeze_post@8", "piqa", s) - score_of("lora@8", "piqa", s)) for s in SEEDS]
    half = stats.t.ppf(0.975, 2) * max(np.std(pairs, ddof=1), 0.1) / 3**0.5  # a score over 500 rows is in steps of 0.2
    assert (row["source_rank"], row["n"], row["gain"]) == (128, 3, pytest.approx(np.mean(pairs)))
    assert (row["low"], row["high"]) == pytest.approx((np.mean(pairs) - half, np.mean(pairs) + half))
    assert sorted(zip(data["rank"], data["gain"].round(2), strict=True))[0][1] < -10  # 128 to 1 without training


def test_variance_kept_is_that_of_the_records_by_stage_and_site(squeezed) -> None:
    kept = analysis.variance_kept(frame := squeezed())
    labels = frame.rows.set_index("id")["method_name"]
    names = kept["id"].map(labels)
    assert kept.groupby(names)["stage"].nunique().to_dict() == {
        "squeeze_post": 1, "squeeze_cont": 1, "squeeze_in": 7, "squeeze_in_min": 2,
    }  # fmt: skip
    post = kept[(names == "squeeze_post") & (kept["rank"] == 1)]
    assert post.groupby("site")["kept"].unique().map(list).to_dict() == {"layer.0.q": [0.8], "layer.0.v": [0.6]}
    assert set(post["rank_before"]) == {128} and len(post) == 2 * 2 * len(SEEDS)


def test_the_score_that_post_squeeze_loses_is_to_its_own_source_run(squeezed) -> None:
    frame = squeezed()
    data = kept_data(frame)
    row = data[data["block"].str.contains("BOOLQ") & (data["rank"] == 1)].iloc[0]
    lost = [100 * (score_of("lora@128", "boolq", s) - score_of("squeeze_post@1", "boolq", s)) for s in SEEDS]
    assert row["lost"] == pytest.approx(np.mean(lost)) and row["n"] == 3 and row["low"] < np.mean(lost) < row["high"]
    assert (row["kept"], row["least"]) == pytest.approx((np.mean(KEPT["squeeze_post@1"]), min(KEPT["squeeze_post@1"])))
    assert len(data) == 4  # two ranks on two tasks; Cont-Squeeze trained on, and is no such point
    picture = analysis.kept_against_lost(frame)
    assert "rank 128 to 1: 70.0 % kept" in picture.alt and "128→8" in picture.svg


def test_curves_over_sizes_have_a_line_for_each_procedure(squeezed) -> None:
    data = size_data(squeezed(datasets=("piqa",)))
    lines = data.groupby("variant")["parameters"].apply(list).to_dict()
    assert lines["LoRA"] == [512, 512, 512 * 8, 512 * 128] and lines["Post-Squeeze"] == [512, 512 * 8]
    assert {"Cont-Squeeze", "In-Squeeze", "In-Squeeze (minimum)"} < set(lines)


def test_ours_stand_beside_the_printed_values_of_table_1_and_6(squeezed) -> None:
    frame = squeezed()
    table = analysis.squeeze_table(frame, "squeeze1")
    cells = dict(
        zip([head.label for head in table.heads], next(r for r in table.rows if r[0].text == "PIQA"), strict=True)
    )
    assert cells["Direct"].text.startswith(f"93.05 / {mean_of('lora@1'):.2f} [")
    assert cells["Cont +0"].value == pytest.approx(mean_of("squeeze_post@1"))
    assert cells["Direct +700"].text == "93.02" and cells["In-minimum"].text.startswith("92.80 / ")
    average = next(row for row in table.rows if row[0].text == "Average")
    assert [cell.text for cell in average[2:4]] == ["90.08", "89.74"]  # ours are of two tasks, and no average of 13
    gains = analysis.squeeze_table(frame, "squeeze6")
    boolq = next(row for row in gains.rows if row[0].text == "BoolQ")
    text = dict(zip([head.label for head in gains.heads], boolq, strict=True))["Post 128→8 over Direct r=8"].text
    assert text.startswith("0.17 / ")
    assert not any(note.startswith("No run") for note in (*table.notes, *gains.notes))


def test_the_average_of_all_thirteen_tasks_is_ours_too(squeezed) -> None:
    thirteen = ("winogrande_l", "boolq", "piqa", "drop", "anli_r2", "paws_choice", "hellaswag", "openbookqa_choice",
                "goemotions", "arc_easy", "arc_challenge", "social_iqa", "mmlu")  # fmt: skip
    table = analysis.squeeze_table(squeezed(model="gemma3_1b", datasets=thirteen), "squeeze7")
    (row,) = (row for row in table.rows if row[0].text == "Average")
    ours = np.mean([mean_of("lora@1", dataset) for dataset in thirteen])
    assert row[1].text == f"83.39 / {ours:.2f} (13)"


def test_tiny_models_have_no_counterpart_and_the_printed_table_stands_alone(squeezed) -> None:
    frame = squeezed(size="tiny")
    for number, rows in ((1, 14), (6, 14), (7, 1), (8, 7)):
        table = analysis.squeeze_table(frame, f"squeeze{number}")
        assert len(table.rows) == rows and table.data["ours"].isna().all()
        assert any(note.startswith("No run of this sweep") for note in table.notes)
    assert analysis.procedure_table(frame) is not None


def test_a_sweep_without_squeezed_runs_has_none_of_it(study_writer: Callable[..., object], tmp_path: Path) -> None:
    study_writer(tmp_path)
    frame = analysis.load("tiny", tmp_path)
    assert analysis.procedure_table(frame) is None and analysis.gains_table(frame) is None
    assert analysis.variance_kept(frame).empty and analysis.kept_against_lost(frame) is None
    assert "squeeze" not in [part.key for part in sections(frame)]


@pytest.mark.parametrize("cell", CELLS)
def test_the_procedure_of_a_spec_is_read_from_its_parts(cell: str) -> None:
    rank, schedule, steps, last = CELLS[cell]
    update = {"kind": "low_rank", "rank": rank}
    spec = {"method": {"update": update, "schedule": schedule}, "recipe": {"max_steps": steps}}
    found = procedure(spec | {"source": {"recipe": {"max_steps": 77}}})
    assert (found["start_rank"], found["end_rank"], found["own_steps"], found["source_steps"]) == (
        rank,
        last,
        steps,
        77,
    )
    kinds = {"lora": "direct", "squeeze_post": "post", "squeeze_cont": "cont", "squeeze_in": "in-standard"}
    assert found["procedure"] == kinds.get(cell.split("@")[0], "in-minimum") and cell in SCORE


def test_a_method_that_is_no_low_rank_update_is_no_procedure() -> None:
    spec = {"method": {"update": {"kind": "columns", "rank": 8}, "schedule": {"kind": "constant"}}, "recipe": {}}
    assert procedure(spec)["procedure"] == ""
    spec["method"]["update"] = {"kind": "full"}
    assert procedure(spec)["procedure"] == "" and np.isnan(procedure(spec)["end_rank"])
