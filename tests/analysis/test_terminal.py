"""Tables in a terminal: a narrow one folds headings, and never loses a column."""

import io

import pytest
from rich.console import Console

from analysis.load import load
from analysis.render.terminal import print_table
from analysis.tables.tradeoff import tradeoff


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_every_number_is_there_at_any_width(written, width: int) -> None:
    frame = load("tiny", written(missing=(("cla", "minilm", "mrpc", 1),)), partial=True)
    table, out = tradeoff(frame, "Minilm / MRPC"), io.StringIO()
    print_table(table, Console(file=out, width=width))
    printed = out.getvalue()
    lines = printed.splitlines()
    starts = [next(i for i, line in enumerate(lines) if line.strip().startswith(row[0].text)) for row in table.rows]
    for row, first, after in zip(table.rows, starts, [*starts[1:], len(lines)], strict=True):
        shown = "\n".join(lines[first:after])  # a narrow terminal has ranges and counts below their means
        parts = [part for cell in row for part in cell.text.replace(" [", "\n[").replace("] (", "]\n(").split("\n")]
        assert all(part in shown for part in parts)
    assert max(map(len, lines)) <= width
    assert "parameters" in printed


def test_ninety_columns_hold_a_trade_off_table(written) -> None:
    table, out = tradeoff(load("tiny", written(methods=("head", "lora", "cla"))), "Minilm / MRPC"), io.StringIO()
    print_table(table, Console(file=out, width=90))
    assert max(map(len, out.getvalue().splitlines())) <= 90
