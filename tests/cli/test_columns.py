"""Tables at 80 columns: a text folds, and nothing is cut."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from harness.cli import plan_view
from harness.cli.plan_view import print_plan
from harness.cli.tables import folding_table, side_by_side
from harness.ledger.plan import Plan, Planned, Skipped
from harness.ledger.store import Store
from harness.planning.estimate import CostEstimate

LONG = "targets_of_a_name_that_no_terminal_of_eighty_columns_holds_beside_anything_else"


def printed(table, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(table)
    return out.getvalue()


def test_a_long_word_folds_and_is_never_cut() -> None:
    table = folding_table("key", "value", "number")
    table.add_row(LONG, LONG, "1")
    said = printed(table)
    assert "…" not in said and max(map(len, said.splitlines())) <= 80
    letters = "".join(line[:40] for line in said.splitlines())
    assert all(part in letters for part in LONG.split("_")[:3])


def test_a_table_that_is_too_wide_is_turned() -> None:
    headings, row = ["", *(f"measure {i}" for i in range(12))], ["LoRA", *("1,234.5" for _ in range(12))]
    assert printed(side_by_side(Console(width=200), headings, [row]), 200).splitlines()[1].count("measure") == 12
    narrow = printed(side_by_side(Console(width=80), headings, [row]))
    assert [line for line in narrow.splitlines() if "measure 11" in line and "1,234.5" in line]


def test_a_plan_sums_by_model_and_names_the_largest_memory(tmp_path, monkeypatch) -> None:
    """Sums by hand; a source that all cells share is written once."""
    words = [("lora", "minilm", "mrpc", 3e8), ("full", "minilm", "mrpc", 7e8), ("lora", "gpt2", "mrpc", 12.3e9)]
    runs, needs = [], []
    for method, model, dataset, size in words:
        choices = {"method": method, "model": model, "dataset": dataset, "recipe": "quick_text"}
        runs += [Planned(f"{len(runs) + seed:016x}", choices | {"seed": seed}, {}) for seed in (0, 1)]
        needs.append(CostEstimate(choices, 2, {"weights": size}, "", 0.0, 3600.0, 3700.0, "no record yet: " + LONG))
    runs += [replace(runs[0], id="f" * 16, choices=runs[0].choices | {"model": "vit"})]
    needs.append(CostEstimate(runs[-1].choices, 1, {}, "", 0.0, None, None, "no record yet", flops=4.2e15))
    plan = Plan("p", tuple(runs), (Skipped({"method": "cla"}, "why not"),), {})
    out = io.StringIO()
    monkeypatch.setattr(plan_view, "Console", lambda **given: Console(file=out, width=80, highlight=False))
    print_plan(plan, Store(tmp_path), needs)
    said = out.getvalue()
    assert "minilm: 4 runs, 4.0 h of training; largest memory 700 MB (full on mrpc)" in said
    assert "gpt2: 2 runs, 2.0 h of training; largest memory 12.3 GB (lora on mrpc)" in said
    assert "skipped: method=cla: why not" in said
    assert "4.2 PFLOP" in said and "vit: 1 run, training time not known" in said
    assert said.count(LONG) == 1 and "…" not in said


@pytest.mark.parametrize("width", [80, 200])
def test_the_settings_of_a_plan_stand_below_a_table_that_they_would_not_fit_in(width, tmp_path, monkeypatch) -> None:
    """At 80 columns a row is a line, names and words are whole, and a setting that cells share is written once."""
    runs, needs = [], []
    for method, settings in (("lora", LONG[:40]), ("adapter_parallel", LONG[:40]), ("cla", "short")):
        choices = {"method": method, "model": "deberta_v3_base", "dataset": "stdlib_docs", "recipe": "quick_text"}
        choices |= {"dataset.source.options.hops": settings}
        runs.append(Planned(f"{len(runs):016x}", choices | {"seed": 0}, {}))
        needs.append(CostEstimate(choices, 1, {"weights": 683e6}, "", 0.0, 15.7, 22.0, "no record yet"))
    out = io.StringIO()
    monkeypatch.setattr(plan_view, "Console", lambda **given: Console(file=out, width=width, highlight=False))
    print_plan(Plan("p", tuple(runs), (), {}), Store(tmp_path), needs)
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    table = lines[2 : next(number for number, line in enumerate(lines) if line.startswith("[1]"))]
    if width == 80:
        assert [line.split() for line in table[-4:]] == [
            ["deberta_v3_base"],
            ["lora", "stdlib_docs", "683", "MB", "15.7", "s", "[1]", "s1"],
            ["adapter_parallel", "stdlib_docs", "683", "MB", "15.7", "s", "[1]", "s1"],
            ["cla", "stdlib_docs", "683", "MB", "15.7", "s", "[1]", "s2"],
        ]
        assert max(map(len, table)) <= 80
        assert f"s1: seeds 0; quick_text dataset.source.options.hops={LONG[:40]}" in lines
    else:
        assert [line.split()[0] for line in table] == ["method", "lora", "adapter_parallel", "cla"]
        assert table[1].endswith(f"quick_text dataset.source.options.hops={LONG[:40]}")
