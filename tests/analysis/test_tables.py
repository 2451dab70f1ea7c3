"""Golden tables from hand-written records, and the promises every table keeps."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

import analysis
from analysis.advise import advise, everything
from analysis.figures.heat import heat_table
from analysis.figures.tradeoff import means
from analysis.frame import Frame
from analysis.load import load
from analysis.render.html import html
from analysis.render.latex import latex
from analysis.render.markdown import markdown
from analysis.report.content import sections
from analysis.tables.competitive import competitive_table, differences
from analysis.tables.coverage import coverage, failures
from analysis.tables.fronts import fronts_table
from analysis.tables.pooled import comparison, normaliser, pooled_table, whole_blocks
from analysis.tables.published import beside_published
from analysis.tables.ranking import rank_table
from analysis.tables.relative import ratio, relative_time
from analysis.tables.study import table2, table3
from analysis.tables.tradeoff import tradeoff
from analysis.verdict import verdicts
from harness.ledger.quantity import NotMeasured
from harness.ledger.record import Record

SCORES = {"full": [0.80, 0.82, 0.84], "head": [0.50, 0.51, 0.52], "lora": [0.90, 0.91, 0.92], "cla": [0.90, 0.92, 0.91]}


def by_hand(method: str, _dataset: str, seed: int) -> float:
    return SCORES[method][seed]


HEADS = (
    "| method | accuracy (%) ↑ | train (s) ↓ | step (ms) ↓ | peak RSS (MB) ↓ | saved for backward (MB) ↓ "
    "| trainable parameters ↓ |"
)
FULL = "<u>82.00 \\[80.00, 84.00\\] (3)</u> | 40.4 \\[40.0, 40.8\\] | 404.0 \\[400.0, 408.0\\]"
GOLDEN = f"""\
### Minilm / TREC50: score and cost

{HEADS}
| :--- | ---: | ---: | ---: | ---: | ---: | ---: |
| Full fine-tuning | {FULL} | 1,004 | 60.6 | 1,000,000 |
| Head only | 51.00 \\[50.00, 52.00\\] (3) | 8.1 \\[8.0, 8.2\\] | 80.8 \\[80.0, 81.6\\] | 681 | 12.1 | 390 |
| LoRA | **91.00 \\[90.00, 92.00\\] (3)** | 24.2 \\[24.0, 24.5\\] | 242.4 \\[240.0, 244.8\\] | 842 | 36.4 | 4,486 |
| cLA | missing [1] | – | – | – | – | – |

1. 3 of 3 runs: missing: no record yet; \\`peftlab status\\` says whether it runs
"""


def test_the_trade_off_table_is_what_the_records_say(written) -> None:
    gone = tuple(("cla", "minilm", "trec50", seed) for seed in range(3))
    frame = load("tiny", written(score=by_hand, missing=gone), partial=True)
    text = markdown(tradeoff(frame, "Minilm / TREC50"))
    assert text.startswith(GOLDEN)


def test_the_footer_names_plan_runs_commit_and_environment(written) -> None:
    frame = load("tiny", written())
    note = tradeoff(frame, "Minilm / MRPC").notes[-1]
    assert f"plan {frame.digest} · 12 of 12 runs done · seeds 0, 1, 2" in note
    assert "commit 0123456789ab · environment f00dfeed" in note


def test_a_place_is_marked_only_where_the_difference_is_supported(written) -> None:
    scores = {"full": [0.80, 0.81, 0.82, 0.83], "head": [0.50, 0.51, 0.52, 0.53], "lora": [0.90, 0.91, 0.92, 0.93],
              "cla": [0.90, 0.92, 0.91, 0.93]}  # fmt: skip
    frame = load("tiny", written(score=lambda m, _d, s: scores[m][s], seeds=(0, 1, 2, 3)))
    cells = {row[0].text: row[1] for row in tradeoff(frame, "Minilm / MRPC").rows}
    assert [cells[m].mark for m in ("LoRA", "cLA")] == ["", ""]  # nobody is best: they are alike
    better = load(
        "tiny", written(score=lambda m, _d, s: scores[m][s] - (0.05 if m == "cla" else 0), seeds=(0, 1, 2, 3))
    )
    cells = {row[0].text: row[1] for row in tradeoff(better, "Minilm / MRPC").rows}
    assert cells["LoRA"].mark == "best"


def test_a_method_that_lost_a_seed_is_never_marked_and_must_be_beaten(written) -> None:
    scores = {"full": 0.8, "head": 0.5, "lora": 0.9, "cla": 0.7}
    lost = ("minilm", "mrpc", 4)

    def score(method: str, _dataset: str, seed: int) -> float:
        return scores[method] + 0.01 * seed

    frame = load("tiny", written(score=score, seeds=(0, 1, 2, 3, 4), fail=(("lora", *lost),)))
    cells = {row[0].text: row[1] for row in tradeoff(frame, "Minilm / MRPC").rows}
    assert cells["LoRA"].mark == ""
    assert cells["LoRA"].text.endswith("(4/5)")
    assert "1 of 5 runs: failed: oom" in cells["LoRA"].why
    assert cells["Full fine-tuning"].mark == ""  # LoRA may be better: who is best is not known
    frame = load("tiny", written(score=score, seeds=(0, 1, 2, 3, 4), fail=(("cla", *lost),)))
    cells = {row[0].text: row[1] for row in tradeoff(frame, "Minilm / MRPC").rows}
    assert [cells[m].mark for m in ("LoRA", "Full fine-tuning", "cLA")] == ["best", "second", ""]


def test_table_2_and_3_hold_every_cell(written) -> None:
    frame = load("tiny", written(skipped=(("cla", "minilm", "mrpc", "no columns there"),)))
    for table in (table2(frame), table3(frame)):
        assert len(table.rows) == 2
        assert "no columns there" in markdown(table)
        assert all("[" in cell.text for cell in table.rows[0][2:])


def test_a_page_breaks_only_tables_of_many_numbers_and_only_before_a_range(written) -> None:
    frame = load("tiny", written(methods=("full", "head", "lora", "cla", "asym", "c3la")))
    assert "<div class='table wide'" in html(table2(frame))
    assert "<div class='table'" in (text := html(tradeoff(frame, "Minilm / MRPC")))
    assert "<span class='range'>[" in text


def test_g_is_the_gap_of_the_two_losses(written) -> None:
    frame = load("tiny", written(score=by_hand))
    data = table3(frame).data.set_index(["block", "method"])
    gaps = [0.4 + 0.1 * (1 - s) - (0.25 + 0.01 * i) for i, s in enumerate(SCORES["lora"])]
    assert data.loc[("Minilm / MRPC", "LoRA"), "mean"] == pytest.approx(np.mean(gaps))


def test_a_training_loss_that_was_not_measured_is_a_reason_and_no_number(written) -> None:
    def without(record: Record) -> Record:
        return replace(record, scores={**record.scores, "train": {"loss": NotMeasured("not asked for")}})

    table = table3(load("tiny", written(edit=without)))
    assert table.rows[0][1].text == "not measured"
    assert "not asked for" in table.rows[0][1].why


def test_ratios_are_geometric_means_over_common_seeds(written) -> None:
    frame = load("tiny", written(fail=(("cla", "minilm", "mrpc", 0),)))
    found = ratio(frame, "Minilm / MRPC", "cLA", "step_ms")
    assert (found.n, found.mean) == (2, pytest.approx(1.0 / 1.2))
    assert relative_time(frame) is not None


def test_a_sweep_without_its_control_has_no_table_against_it(written) -> None:
    frame = load("tiny", written(methods=("full", "cla"), about={}))
    assert frame.control is None
    assert relative_time(frame) is None
    assert competitive_table(frame) is None


def test_differences_are_paired_over_common_seeds(written) -> None:
    frame = load("tiny", written(score=by_hand))
    found = {(d.block, d.method): d for d in differences(frame)}
    d = found["Minilm / MRPC", "Full fine-tuning"]
    pairs = 100 * (np.array(SCORES["full"]) - SCORES["lora"])
    assert d.estimate.mean == pytest.approx(pairs.mean())
    assert d.p == pytest.approx(stats.ttest_rel(SCORES["full"], SCORES["lora"]).pvalue)
    assert d.competitive is not None and d.competitive.verdict == "no"


def test_lower_perplexity_is_a_positive_difference(written) -> None:
    perplexity = {"full": 3.0, "head": 5.0, "lora": 4.0, "cla": 4.1}
    blocks = (("gpt2", "e2e"),)
    frame = load("tiny", written(blocks=blocks, score=lambda m, _d, s: perplexity[m] + 0.1 * s))
    found = {d.method: d.estimate.mean for d in differences(frame)}
    assert found["Full fine-tuning"] == pytest.approx(1.0)
    assert all(d.competitive is None for d in differences(frame))  # a margin in points says nothing about perplexity


def test_published_values_stand_beside_ours(written) -> None:
    frame = load("tiny", written(blocks=(("gpt2", "e2e"),), score=lambda m, _d, s: 3.1 + 0.1 * s))
    table = beside_published(frame, "table2")
    assert table is not None
    row = table.data.set_index("method").loc["LoRA"]
    assert row["published"] == 3.18
    assert row["difference"] == pytest.approx(3.2 - 3.18)
    assert row["inside"]


def test_a_tiny_model_has_no_published_counterpart(written) -> None:
    def tiny(record: Record) -> Record:
        return record

    frame = load("tiny", written(blocks=(("gpt2", "e2e"),), edit=tiny))
    small = frame.reordered(frame.rows.assign(model_size="tiny"))
    assert beside_published(small, "table2") is None


def test_every_lost_run_is_a_row_with_its_reason(written) -> None:
    lost = {"fail": (("lora", "minilm", "mrpc", 0),), "missing": (("cla", "minilm", "mrpc", 1),)}
    frame = load("tiny", written(**lost, skipped=(("head", "minilm", "mrpc", "why not"),)), partial=True)
    table = failures(frame)
    assert table is not None
    assert [row[3].text for row in table.rows] == ["skipped", "failed", "missing"]
    assert "2/3 (1 failed)" in [cell.text for row in coverage(frame).rows for cell in row]


def test_nothing_lost_is_no_table(written) -> None:
    assert failures(load("tiny", written())) is None


def test_a_block_with_a_failed_seed_does_not_enter_the_ranks(written) -> None:
    blocks = tuple(("minilm", d) for d in ("trec50", "mrpc", "cola", "rte"))
    frame = load("tiny", written(blocks=blocks, fail=(("lora", "minilm", "rte", 0),)))
    found = comparison(frame)
    assert found is not None and found.ranking.n == 3
    assert found.dropped == {"Minilm / RTE": ("LoRA",)}
    assert "Left out, because methods are missing: Minilm / RTE (LoRA)." in rank_table(found).notes
    assert whole_blocks(frame).blocks == ("Minilm / TREC50", "Minilm / MRPC", "Minilm / COLA")


def test_normalised_scores_put_chance_at_zero_and_the_control_at_one(written) -> None:
    base = {"full": 0.25, "head": 0.25, "lora": 0.85, "cla": 0.55}
    whole = whole_blocks(load("tiny", written(score=lambda m, _d, s: base[m] + 0.01 * (s - 1) * (m == "lora"))))
    scores = normaliser(whole.chance, 2)(whole.scores)
    assert whole.above.all()
    assert scores.mean(axis=(0, 1)) == pytest.approx([0.0, 0.0, 1.0, 0.5])


def test_nothing_is_divided_by_a_control_at_chance(written) -> None:
    """LoRA at .25 ± .01 where chance is .25: P(better) is of the raw scores, and no normalised score is shown."""
    base = {"full": 0.80, "head": 0.20, "lora": 0.25, "cla": 0.25}
    runs = written(score=lambda m, _d, s: base[m] + 0.01 * (s - 1))
    table = pooled_table(load("tiny", runs))
    assert table is not None
    assert [row[2].text for row in table.rows] == ["–"] * 4
    assert table.data.set_index("method")["p_better"].to_dict() == {
        "Full fine-tuning": 1.0, "Head only": 0.0, "LoRA": 0.5, "cLA": 0.5,
    }  # fmt: skip
    assert "LoRA is not above chance there: Minilm / TREC50, Minilm / MRPC" in table.notes[0]


def test_pooled_and_front_tables_are_equal_for_equal_generators(written) -> None:
    frame = load("tiny", written())
    for table in (pooled_table, fronts_table):
        assert table(frame, np.random.default_rng(1)) == table(frame, np.random.default_rng(1))


@pytest.fixture(scope="module")
def in_order(tmp_path_factory, study_writer) -> tuple[Frame, list, object]:
    """A frame, its tables and its verdicts."""
    runs = tmp_path_factory.mktemp("shuffle") / "runs"
    study_writer(runs, fail=(("lora", "minilm", "mrpc", 0),), missing=(("cla", "minilm", "mrpc", 1),))
    frame = load("tiny", runs, partial=True)
    return frame, [part.tables for part in sections(frame)], verdicts(frame)


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_shuffling_the_records_changes_nothing(in_order: tuple[Frame, list, object], seed: int) -> None:
    frame, tables, judged = in_order
    again = frame.reordered(frame.rows.sample(frac=1, random_state=seed))
    assert again.rows.equals(frame.rows)
    assert [part.tables for part in sections(again)] == tables
    assert verdicts(again) == judged


def test_every_section_has_a_sentence_and_unique_names(written) -> None:
    parts = list(sections(load("tiny", written(), partial=True)))
    names = [t.name for p in parts for t in p.tables] + [f"figure-{f.name}" for p in parts for f in p.pictures]
    assert len(names) == len(set(names))
    assert all(part.lead for part in parts)
    assert all(len(row) == len(t.heads) for p in parts for t in p.tables for row in t.rows)


def test_the_room_gives_what_it_names() -> None:
    assert all(callable(getattr(analysis, name)) for name in analysis.__all__)


def test_lower_perplexity_is_better_everywhere(written) -> None:
    perplexity = {"full": 3.0, "head": 5.0, "lora": 4.0, "cla": 3.5}
    runs = written(
        blocks=(("gpt2", "e2e"),),
        seeds=(0, 1, 2, 3, 4),
        score=lambda m, _d, s: perplexity[m] + 0.1 * s + 0.01 * (ord(m[0]) * (s + 1) % 7),
    )
    frame, block = load("tiny", runs), "Gpt2 / E2E"
    assert r"\textbf{3.2" in latex(table2(frame))
    assert [row[1].mark for row in tradeoff(frame, block).rows] == ["best", "", "third", "second"]
    assert heat_table(frame).set_index("method")["scaled"].idxmax() == "Full fine-tuning"
    front = means(frame, "train_s").set_index("method")["on_front"]
    assert front.to_dict() == {"Full fine-tuning": True, "Head only": True, "LoRA": False, "cLA": True}
    assert {d.method for d in differences(frame) if d.estimate.mean < 0} == {"Head only"}
    assert whole_blocks(frame).scores.mean(axis=(0, 1)).argmax() == 0
    (best,) = [o.method for o in advise(everything(runs), {}, None, None) if o.best]
    assert best == "Full fine-tuning"
    assert verdicts(frame)[0].best == "Full fine-tuning"


def test_few_blocks_are_too_few_to_tell_and_the_number_needed_is_said(written) -> None:
    blocks = tuple(("minilm", d) for d in ("trec50", "mrpc", "cola"))
    found = comparison(load("tiny", written(blocks=blocks)))
    assert found is not None
    notes = " ".join(rank_table(found, "LoRA").notes)
    assert (
        "3 datasets are too few to tell any of the 6 pairs apart, however large the differences: 8 are needed" in notes
    )
    assert "3 datasets are too few to tell any method from LoRA alone apart" in notes
    assert "It speaks of datasets like these, for this model" in notes
    assert "Not told apart" not in notes


def test_blocks_of_one_model_are_one_cluster(written) -> None:
    blocks = (("minilm", "trec50"), ("minilm", "mrpc"), ("vit", "trec50"), ("vit", "mrpc"))
    found = comparison(load("tiny", written(blocks=blocks)))
    assert found is not None and (found.ranking.clusters, found.ranking.over) == (2, "models")
    assert "within each of the 2 models" in rank_table(found).notes[0]


def test_equal_counts_share_rank_and_win(written) -> None:
    """Both have 1,000 of 1,500 right, in another order of the seeds."""
    counts = {"lora": [331, 333, 336], "cla": [336, 331, 333], "full": [300, 300, 301], "head": [200, 201, 200]}
    found = comparison(load("tiny", written(score=lambda m, _d, s: counts[m][s] / 500)))
    assert found is not None
    ranks = dict(zip(found.methods, found.ranking.ranks.tolist(), strict=True))
    assert ranks["LoRA"] == ranks["cLA"] == 1.5


def test_times_that_are_marked_give_no_ratio_and_a_note(written) -> None:
    frame = load("tiny", written())
    marked = frame.reordered(frame.rows.assign(**{"contention.marked": 1.0}))
    assert ratio(marked, "Minilm / MRPC", "cLA", "step_ms").n == 0
    assert ratio(marked, "Minilm / MRPC", "cLA", "saved_bytes").n == 3
    assert any(
        note.startswith("Times are not comparable: 12 of 12 runs") for note in tradeoff(marked, "Minilm / MRPC").notes
    )
    table = relative_time(marked)
    assert table is not None and {row[2].text for row in table.rows} == {"not comparable"}


def test_the_picture_of_times_has_bars_both_ways_and_that_of_counts_does_not(written) -> None:
    data = means(load("tiny", written()), "train_s").set_index(["block", "method"])
    row = data.loc[("Minilm / MRPC", "LoRA")]
    assert row["cost_lowest"] < row["cost"] < row["cost_highest"]
    assert means(load("tiny", written()), "trainable_params")["cost_lowest"].isna().all()


def test_a_method_that_trains_no_step_has_a_time_of_zero_without_a_range(written) -> None:
    frame = load("tiny", written())
    trained = tradeoff(frame, "Minilm / MRPC").rows[0][2]
    idle = tradeoff(frame.reordered(frame.rows.assign(train_s=0.0)), "Minilm / MRPC").rows[0][2]
    assert "[" in trained.text
    assert (idle.text, idle.value) == ("0.00", 0.0)


def test_a_control_at_chance_divides_by_nothing(written) -> None:
    def score(method: str, dataset: str, seed: int) -> float:
        return 0.25 if method == "lora" else 0.25 + 0.01 * (seed + 1)

    frame = load("tiny", written(score=score))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = pooled_table(frame)
        made = (table2(frame), table3(frame), competitive_table(frame), fronts_table(frame))
    assert table is not None and all(made)
    assert {row[2].why for row in table.rows} == {"the control is not above chance"}


def test_methods_that_are_one_function_are_named(written) -> None:
    frame = load("tiny", written())
    assert not any("one function" in note for note in tradeoff(frame, "Minilm / MRPC").notes)
    same = frame.rows.assign(same_function_as=np.where(frame.rows["method_name"] == "cla", "lora", ""))
    notes = tradeoff(frame.reordered(same), "Minilm / MRPC").notes
    assert any(note.startswith("cLA and LoRA are one function") for note in notes)


def test_a_notebook_without_a_style_sheet_sets_marks_and_numbers_as_the_notes_say(written) -> None:
    far_apart = {"lora": 0.9, "full": 0.8, "cla": 0.7, "head": 0.6}
    text = table2(load("tiny", written(score=lambda method, _, seed: far_apart[method] + 0.002 * seed)))._repr_html_()
    assert text.startswith("<style>") and ".table td.best{font-weight:bold}" in text and ".table .right{" in text
    assert "class='best right'" in text and "Best bold" in text
