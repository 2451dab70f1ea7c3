"""`peftlab compare` on the published tables and on tables that are wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from scipy import stats
from statsmodels.stats.multitest import multipletests

import analysis
from analysis.compare import as_json, compare, compare_csv
from analysis.compared_table import read_table
from analysis.metric import direction
from analysis.stats.differences import spread
from analysis.stats.ranks import ranking
from harness.cli.arguments import call
from harness.ledger.errors import RecordError

PUBLISHED = Path(analysis.__file__ or "").parent / "published"


def long(rows: dict[str, dict[str, float]], metric: str = "accuracy") -> pd.DataFrame:
    cells = [("m", block, method, metric, value) for block, values in rows.items() for method, value in values.items()]
    return pd.DataFrame(cells, columns=["model", "dataset", "method", "metric", "value"])


def by_all_signs(differences: np.ndarray) -> float:
    """Wilcoxon's p by looking at all 2^n choices of signs."""
    d = differences[differences != 0]
    ranks, sums = stats.rankdata(np.abs(d)), np.zeros(1)
    for rank in ranks:
        sums = np.concatenate([sums + rank, sums - rank])
    return float((np.abs(sums) >= abs((np.sign(d) * ranks).sum())).mean())


def test_the_published_table_2_agrees_with_scipy_worked_by_hand() -> None:
    raw = pd.read_csv(PUBLISHED / "beyond_lora_table2.csv")
    raw["turned"] = raw["value"] * np.where(raw["metric"] == "perplexity", -1, 1)
    wide = raw.pivot(index=["model", "dataset"], columns="method", values="turned")
    found = as_json(compare_csv(PUBLISHED / "beyond_lora_table2.csv"))
    assert found["n_blocks"] == 20
    ranks = dict(zip(wide.columns, stats.rankdata(-wide.to_numpy(), axis=1).mean(axis=0), strict=True))
    assert found["mean_ranks"] == pytest.approx(ranks)
    chi = stats.friedmanchisquare(*wide.to_numpy().T)
    assert found["friedman"]["statistic"] == pytest.approx(chi.statistic)
    hundredths = (wide * 100).round().astype(int)  # as printed: 0.1 + 0.2 is 0.3
    raw_p = [by_all_signs((hundredths[p["a"]] - hundredths[p["b"]]).to_numpy()) for p in found["pairwise"]]
    assert [p["wilcoxon_p"] for p in found["pairwise"]] == pytest.approx(raw_p)
    flipped = [p["sign_flip_p"] for p in found["pairwise"]]  # of whole models: blocks of one are not independent
    assert [p["holm_p"] for p in found["pairwise"]] == pytest.approx(
        np.asarray(multipletests(flipped, method="holm")[1]).tolist()
    )
    assert found["clusters"] == {"n": raw["model"].nunique(), "of": "models"}
    assert len(raw_p) == 45


def test_lower_is_better_for_the_generalization_error() -> None:
    found = as_json(compare_csv(PUBLISHED / "beyond_lora_table3.csv"))
    assert set(found["directions"].values()) == {"min"}
    raw = pd.read_csv(PUBLISHED / "beyond_lora_table3.csv")
    best = raw.loc[raw.groupby(["model", "dataset"])["value"].idxmin(), "method"].value_counts()
    assert {m: n for m, n in found["wins"].items() if n} == best.to_dict()


def test_turning_a_metric_round_turns_the_ranks_round() -> None:
    rows = {f"d{i}": {"a": 1.0 + i, "b": 2.0 + i, "c": 3.0 + i} for i in range(4)}
    up, down = (as_json(compare(long(rows, metric), "t"))["mean_ranks"] for metric in ("accuracy", "perplexity"))
    assert up == {"a": 3.0, "b": 2.0, "c": 1.0}
    assert down == {"a": 1.0, "b": 2.0, "c": 3.0}


def test_shuffling_the_rows_changes_no_number() -> None:
    table = read_table(PUBLISHED / "beyond_lora_table2.csv")
    first = as_json(compare(table, "t"))
    second = as_json(compare(table.sample(frac=1, random_state=1), "t"))
    assert second["mean_ranks"] == pytest.approx(first["mean_ranks"])

    def by_pair(found: dict) -> dict:
        return {frozenset((p["a"], p["b"])): p["holm_p"] for p in found["pairwise"]}

    assert by_pair(second) == pytest.approx(by_pair(first))


def test_a_block_with_a_hole_is_dropped_listed_and_imputed() -> None:
    rows = {f"d{i}": {"a": 3.0 + i, "b": 2.0 + i, "c": 1.0} for i in range(5)}
    del rows["d4"]["a"]
    found = as_json(compare(long(rows), "t"))
    assert found["n_blocks"] == 4
    assert found["dropped_blocks"] == {"m / d4 / accuracy": ["a"]}
    assert found["mean_ranks"]["a"] == 1.0
    assert found["mean_ranks_worst_imputed"]["a"] == pytest.approx((4 * 1 + 3) / 5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model,dataset,method,value\nm,d,a,1\n", "no column metric"),
        ("model,dataset,method,metric,value\nm,d,a,accuracy,good\n", "row 2: value 'good'"),
        ("model,dataset,method,metric,value\nm,d,a,accuracy,inf\n", "no finite number"),
        ("model,dataset,method,metric,value\nm,d,a,zing,1\nm,d,b,zing,2\n", "is higher or lower better"),
        ("model,dataset,method,metric,value\nm,d,a,accuracy,1\nm,d,a,accuracy,2\n", "given twice"),
        ("model,dataset,method,metric,value\nm,d,a,accuracy,1\n", "needs two methods"),
        ("model,dataset,method,metric,value\n", "needs two methods"),
        ("model,dataset,method,metric,value\n,,,,\n", "row 2: no model"),
        ("model,dataset,method,metric,value\nm,d,a,accuracy,1\nm,d,,accuracy,2\n", "row 3: no method"),
        ("model;dataset;method;metric;value\nm;d;a;accuracy;1\n", "needs two methods"),
        ("model,dataset,method,metric,value\nm,d,a,accuracy,1\nm,d,b,accuracy,2,3\n", "line 3: 6 fields, expected 5"),
        ("model,dataset,method,metric,value,direction\nm,d,a,z,1,max\nm,d,b,z,2,min\n", "both directions"),
        ("model,dataset,method,metric,value\nm,d,a,accuracy,nan\nm,d,b,accuracy,2\n", "row 2: value 'nan'"),
        ("", "cannot be read as CSV"),
    ],
)
def test_a_table_that_is_wrong_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(RecordError, match=said) as refusal:
        compare_csv(path)
    assert "\n" not in str(refusal.value)


def test_byte_order_marks_line_ends_and_greek_letters_are_no_trouble(tmp_path: Path) -> None:
    rows = "".join(f"m,d{i},{method},accuracy,{value}\r\n" for i in range(3) for method, value in (("α³", 2), ("b", 1)))
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xef\xbb\xbf" + ("model,dataset,method,metric,value\r\n" + rows).encode())
    assert as_json(compare_csv(path))["mean_ranks"] == {"α³": 1.0, "b": 2.0}


def test_a_direction_column_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = "".join(f"m,d{i},{method},zing,{value},min\n" for i in range(3) for method, value in (("a", 1), ("b", 2)))
    path.write_text("model,dataset,method,metric,value,direction\n" + rows)
    assert as_json(compare_csv(path))["mean_ranks"] == {"a": 1.0, "b": 2.0}


def test_the_verb_prints_strict_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("compare", [str(PUBLISHED / "beyond_lora_table2.csv"), "--json"]) == 0

    def no_nan(word: str) -> float:
        raise AssertionError(word)

    found = json.loads(capsys.readouterr().out, parse_constant=no_nan)
    assert found["iman_davenport"]["df"] == [9, 171]


def test_the_verb_prints_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("compare", [str(PUBLISHED / "beyond_lora_table2.csv")]) == 0
    said = capsys.readouterr().out
    assert "Iman–Davenport" in said
    assert "FFT – r-c3LA" in said


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("accuracy_pct", "max"),
        ("Perplexity", "min"),
        ("mcc_x100", "max"),
        ("test loss", "min"),
        ("f1_macro", "max"),
        ("exact_match", "max"),
        ("peak-memory", "min"),
        ("rougeL", "max"),
        ("empirical_generalization_error_G(W)", "min"),
    ],
)
def test_directions_are_known_by_whole_words(metric: str, expected: str) -> None:
    assert direction(metric) == expected


@pytest.mark.parametrize("metric", ["timeqa_accuracy", "error_detection_f1", "memory_recall"])
def test_the_direction_of_an_unknown_metric_is_asked_for(tmp_path: Path, metric: str) -> None:
    path = tmp_path / "t.csv"
    rows = "".join(f"m,d{i},{m},{metric},{v}\n" for i in range(3) for m, v in (("a", 1), ("b", 2)))
    path.write_text("model,dataset,method,metric,value\n" + rows)
    with pytest.raises(RecordError, match="--direction max"):
        compare_csv(path)
    assert as_json(compare_csv(path, "max"))["mean_ranks"] == {"a": 2.0, "b": 1.0}


MARKDOWN = """| method | A | B | Average |
|---|---|---|---|
| LoRA #1 | **70.8 ± 0.3** | 61.0% | 65.9 |
| cLA | 70.1 | – | 70.1 |
| PaCA | 70.0 ± 0.1 | 60.0 | 65.0 |
"""


@pytest.mark.parametrize("separator", ["|", ";", "\t", ","])
def test_wide_tables_are_read_as_people_print_them(tmp_path: Path, separator: str) -> None:
    text = MARKDOWN
    if separator != "|":
        lines = [line.strip("| ") for line in text.splitlines() if "---" not in line]
        text = "\n".join(separator.join(cell.strip() for cell in line.split("|")) for line in lines)
    path = tmp_path / "table.txt"
    path.write_text(text)
    with pytest.raises(RecordError, match="--metric"):
        compare_csv(path)
    found = as_json(compare_csv(path, metric="accuracy"))
    assert found["blocks"] == ["all / A / accuracy"]
    assert found["mean_ranks"] == {"LoRA #1": 1.0, "cLA": 2.0, "PaCA": 3.0}
    assert found["dropped_blocks"] == {"all / B / accuracy": ["cLA"]}
    assert "3 values named Average are left out: they are no block and no method of their own." in found["notes"]


LATEX = r"""\begin{tabular}{lcc}
\toprule
method & SST\_2 & A \& B & Avg. \\ % as printed
\midrule
LoRA & \textbf{70.8} $\pm$ 0.3 & $61.0_{\pm 0.2}$ & 65.9 \\
cLA & 70.1\% & \underline{\textbf{62.0}}
  & 66.0 \\[2pt]
Mean & 70.4 & 61.5 & 66 \\ \hline
\end{tabular}
"""


def test_a_latex_table_is_read_and_its_averages_left_out_on_both_axes(tmp_path: Path) -> None:
    path = tmp_path / "table.tex"
    path.write_text(LATEX)
    table = read_table(path, "accuracy")
    values = table.set_index(["method", "dataset"])["value"].to_dict()
    assert values == {("LoRA", "SST_2"): 70.8, ("cLA", "SST_2"): 70.1, ("LoRA", "A & B"): 61.0, ("cLA", "A & B"): 62.0}
    assert any(note.startswith("5 values named Average") for note in compare_csv(path, metric="accuracy").notes)


def test_the_control_has_a_family_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    table = str(PUBLISHED / "beyond_lora_table2.csv")
    assert call("compare", [table, "--control=LoRA", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    raw = {p["b"] if p["a"] == "LoRA" else p["a"]: p["sign_flip_p"] for p in answer["pairwise"] if "LoRA" in p.values()}
    adjusted = dict(zip(raw, np.asarray(multipletests(list(raw.values()), method="holm")[1]), strict=True))
    assert answer["against_control"] == pytest.approx(adjusted) and len(raw) == 9
    assert call("compare", [table, "--control=LoRA"]) == 0
    assert "LoRA" in capsys.readouterr().out
    with pytest.raises(RecordError, match=r"no method 'Lora'\. Did you mean"):
        call("compare", [table, "--control=Lora"])


def test_thirteen_blocks_and_eleven_methods_with_ties_are_counted_and_not_enumerated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []
    empty = np.zeros

    def counted(shape: Any, *rest: Any, **options: Any) -> Any:
        sizes.append(int(np.prod(shape)))
        return empty(shape, *rest, **options)

    monkeypatch.setattr("analysis.stats.permutation.np.zeros", counted)
    scores = np.random.default_rng(0).integers(0, 4, (13, 11)).astype(float)
    rank = ranking(scores)
    assert len(rank.pairs) == 55
    assert len(sizes) <= 55 * 13 and max(sizes) <= 2 * 13 * 14 + 1  # a sum each, never one of 2^13 choices of signs
    p = next(pair for pair in rank.pairs if (pair.a, pair.b) == (0, 1)).p
    assert p == pytest.approx(by_all_signs(scores[:, 0] - scores[:, 1]))


def test_two_spellings_of_a_method_are_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("model,dataset,method,metric,value\nm,d,LoRA,accuracy,1\nm,d,lora,accuracy,2\n")
    with pytest.raises(RecordError, match="'LoRA' and 'lora' are one method or two"):
        compare_csv(path)


def test_blocks_of_one_model_are_relabelled_together(tmp_path: Path) -> None:
    """Eight blocks of two models: no pair can be told apart, where eight independent blocks would suffice."""
    rows = [
        f"{m},{d},{a},accuracy,{v}" for m in ("x", "y") for d in range(4) for a, v in (("A", 70 + d), ("B", 60 + d))
    ]
    path = tmp_path / "table.csv"
    path.write_text("model,dataset,method,metric,value\n" + "\n".join(rows))
    two = compare_csv(path).ranking
    assert (two.n, two.clusters, two.over, two.pairs[0].clustered) == (8, 2, "models", 0.5)
    path.write_text(path.read_text().replace("\ny,", "\nx,z"))
    one = compare_csv(path).ranking
    assert (one.clusters, one.over) == (8, "datasets") and one.pairs[0].clustered == pytest.approx(2 / 2**8)


def test_blocks_weigh_by_the_spread_that_a_table_gives(tmp_path: Path) -> None:
    path = tmp_path / "table.md"
    path.write_text(
        "| dataset | A | B |\n|---|---|---|\n| x | **70.0 ± 0.1** | 69.0 ± 0.1 |\n| y | 70.0 ± 1.0 | 75.0 ± 1.0 |\n"
    )
    difference = as_json(compare_csv(path, metric="accuracy"))["pairwise"][0]["differences"]
    assert difference["mean"] == pytest.approx(-2.0)
    weights = np.array([1 / 0.02, 1 / 2.0])
    assert difference["weighted"] == pytest.approx(np.average([1.0, -5.0], weights=weights))
    path.write_text(path.read_text().replace(" ± 1.0", ""))
    assert as_json(compare_csv(path, metric="accuracy"))["pairwise"][0]["differences"]["weighted"] is None


def test_equal_weights_give_the_plain_error() -> None:
    found = spread([1.0, 2.0, 4.0], ["a", "b", "c"], [2.0, 2.0, 2.0])
    assert (found.weighted, found.weighted_error) == pytest.approx((found.mean, found.error))


@pytest.mark.parametrize("which", ["table2", "table3"])  # of nine and of seven models: pairs cannot be told apart
def test_the_heading_of_the_rank_diagram_is_inside_the_picture(which: str) -> None:
    figure = analysis.rank_diagram(compare(analysis.published(which), which)).figure
    figure.draw_without_rendering()
    (heading,) = figure.findobj(lambda part: isinstance(part, Text) and "too few to tell pairs" in part.get_text())
    inside = heading.get_window_extent()
    assert inside.x0 >= 0 and inside.x1 <= figure.bbox.x1 and inside.y1 <= figure.bbox.y1
