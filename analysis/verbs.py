"""The verbs of the command line that read records: report, compare, advise, audit. Each is main(argv) -> exit code."""

import json
import sys
from pathlib import Path


def print_answer(sweep: str, runs: Path, out: Path) -> Path:
    """Print a sweep's tables to the terminal, write its report under `out`/<sweep>, and return the page's path.

    Called after a sweep: holes and mixed environments are shown rather than refused.
    """
    from analysis.load import load

    frame = load(sweep, runs, partial=True, allow_mixed=True)
    return _answer(frame, out)


def report(argv: list[str]) -> int:
    """`peftlab report sweep=NAME [--runs DIR] [--out DIR] [--partial] [--allow-mixed] [--json]`."""
    from analysis.arguments import parser
    from analysis.load import load

    given = parser("report", "tables, figures and one HTML page, from records alone", sweep=True).parse_args(argv)
    frame = load(given.sweep, given.runs, partial=given.partial, allow_mixed=given.allow_mixed)
    if not given.json:
        _answer(frame, given.out)
        return 0
    from analysis.report.build import write_report
    from analysis.report.summary import summary

    path = write_report(frame, given.out / frame.name)
    return _print_json(summary(frame) | {"report": str(path)})


def compare(argv: list[str]) -> int:
    """`peftlab compare TABLE.csv [--json]`: the ranking tests on any table of published numbers."""
    from analysis.arguments import parser
    from analysis.compare import as_json, compare_csv
    from analysis.tables.ranking import pair_table, rank_table

    made = parser("compare", "mean ranks, Friedman, Iman-Davenport, pairwise Wilcoxon with Holm, wins", sweep=False)
    made.add_argument("table", type=Path, help="CSV with the columns model, dataset, method, metric, value")
    given = made.parse_args(argv)
    found = compare_csv(given.table)
    return _print_json(as_json(found)) if given.json else _print_tables([rank_table(found), pair_table(found)])


def _print_json(tree: object) -> int:
    json.dump(tree, sys.stdout, allow_nan=False, indent=2, ensure_ascii=False)
    print()
    return 0


def _print_tables(tables, code: int = 0) -> int:  # noqa: ANN001
    from analysis.render.terminal import print_table

    for table in tables:
        print_table(table, _console())
    return code


def _console():  # noqa: ANN202
    """A log file is wider than rich's guess of 80 columns."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=130)


def _answer(frame, out: Path) -> Path:  # noqa: ANN001  a Frame: named here, pandas would load with the command line
    from analysis.render.terminal import print_table
    from analysis.report.build import write_report
    from analysis.tables.tradeoff import tradeoffs

    console = _console()
    for note in frame.notes:
        console.print(note, style="yellow", markup=False)
    for table in tradeoffs(frame):
        print_table(table, console)
    path = write_report(frame, out / frame.name)
    console.print(f"Report: {path}", markup=False, soft_wrap=True, highlight=False)
    return path
