"""LoRA-Squeeze's printed tables, and how strong the evidence in them is."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import analysis
from analysis.compare import as_json
from analysis.stats.differences import spread
from harness.cli.arguments import call

PUBLISHED = Path(analysis.__file__ or "").parent / "published"
TABLE1 = PUBLISHED / "lora_squeeze_table1.csv"


def printed(number: int) -> pd.DataFrame:
    return pd.read_csv(PUBLISHED / f"lora_squeeze_table{number}.csv")


@pytest.mark.parametrize(("number", "tasks"), [(1, 13), (8, 7)])
def test_a_printed_table_is_whole_and_an_average_is_that_of_its_tasks(number: int, tasks: int) -> None:
    table = printed(number)
    wide = table.pivot(index="dataset", columns="method", values="value").drop(columns="0-shot")
    averages = wide[wide.index == "Average"]
    wide = wide.drop(index=averages.index)
    assert wide.shape == (tasks, 8) and wide.notna().all(axis=None)
    for method, value in averages.iloc[0].items() if len(averages) else ():
        assert value == pytest.approx(wide[method].mean(), abs=0.0101), method  # printed with two digits
    assert len(averages) == (number == 1)


def test_what_is_not_known_is_absent() -> None:
    assert set(printed(7)["dataset"]) == {"Average"}
    assert not {"ScienceQA", "TallyQA", "TextVQA", "Average"} & set(printed(8)["dataset"])
    gains = printed(6).query("metric == 'accuracy_gain_points'")
    assert gains.groupby("method").size().tolist() == [13, 13]
    assert (gains["value"] > 0).groupby(gains["method"]).sum().to_dict() == {
        "Post 128→8 over Direct r=8": 9,
        "Post 16→4 over Direct r=4": 8,  # the paper's text says 9
    }
    by_setting = printed(6).query("dataset == 'Average'").set_index("method")["value"]
    for setting, pair in (("128→8", ("Post 128→8", "Direct r=8")), ("16→4", ("Post 16→4", "Direct r=4"))):
        mean = gains[gains["method"].str.contains(setting)]["value"].mean()
        assert mean == pytest.approx(by_setting[pair[0]] - by_setting[pair[1]], abs=0.0101)


def test_compare_says_how_large_the_differences_of_table_1_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("compare", [str(TABLE1), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    pair = next(p for p in answer["pairwise"] if {p["a"], p["b"]} == {"Direct", "In-minimum"})
    found, sign = pair["differences"], 1 if pair["a"] == "In-minimum" else -1
    assert sign * found["mean"] == pytest.approx(0.43, abs=0.005)
    assert sign * found["median"] == pytest.approx(0.11, abs=0.005)
    assert found["error"] == pytest.approx(0.18, abs=0.005)
    assert sign * found["without_largest"] == pytest.approx(0.31, abs=0.005) and "ANLI-r2" in found["largest"]
    assert answer["n_blocks"] == 13 and pair["holm_p"] > 0.05
    assert call("compare", [str(TABLE1), "--control=Direct"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "In-minimum – Direct 13 +0.43 ± 0.18 +0.11 +0.31 (ANLI-r2) 9 / 3" in text
    assert "In-standard – Direct 13 +0.12 ± 0.12 0.00" in text
    assert "Direct – In-minimum" not in text.split("Differences in")[1]


def test_a_table_of_several_metrics_has_no_common_unit_and_so_no_mean_difference(tmp_path: Path) -> None:
    path = tmp_path / "two.csv"
    rows = ["model,dataset,method,metric,value"]
    rows += [f"m,d{i},{method},{metric},{i + len(method)}" for i, metric in enumerate(("accuracy", "perplexity"))
             for method in ("a", "bb")]  # fmt: skip
    path.write_text("\n".join(rows))
    found = analysis.compare_csv(path)
    assert analysis.difference_table(found) is None
    assert [pair["differences"] for pair in as_json(found)["pairwise"]] == [None]


def test_the_spread_of_differences_is_that_of_numpy_and_scipy() -> None:
    values = np.random.default_rng(3).normal(size=11)
    found = spread(values, [f"b{i}" for i in range(11)])
    assert (found.mean, found.median) == pytest.approx((values.mean(), np.median(values)))
    assert found.error == pytest.approx(stats.sem(values))
    assert found.wins + found.losses == 11
    kept = np.delete(values, int(found.largest[1:]))
    assert (
        found.without_largest == pytest.approx(kept.mean()) and abs(values[int(found.largest[1:])]) >= abs(kept).max()
    )
    single = spread([2.0], ["only"])
    assert single.mean == 2.0 and np.isnan(single.error) and np.isnan(single.without_largest)
    with pytest.raises(ValueError, match="one block or more"):
        spread([], [])


def test_the_evidence_of_the_paper_is_what_its_printed_tables_give() -> None:
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in analysis.squeeze_evidence().rows}
    assert rows["Table 1: In-minimum – Direct"][:4] == ["13", "+0.43 ± 0.18", "+0.11", "+0.31 (ANLI-r2)"]
    assert rows["Table 1: In-standard – Direct"][1] == "+0.12 ± 0.12"
    assert rows["Table 6: Post 16→4 – Direct r=4"][1:3] == ["+0.28 ± 0.15", "+0.12"]
    assert rows["Table 6: Post 128→8 – Direct r=8"][1:4] == ["+0.33 ± 0.24", "+0.17", "+0.13 (WNG-L)"]
    assert rows["Table 6: Post 16→4 – Direct r=4"][4] == "8 / 5"
    assert rows["Table 8: In-minimum – Direct"][0] == "7"
