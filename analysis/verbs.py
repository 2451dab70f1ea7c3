"""The verbs of the command line that read records: report, compare, advise, audit. Each is main(argv) -> exit code."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # named only: pandas and rich load when a verb is called
    from argparse import Namespace

    from rich.console import Console

    from analysis.frame import Frame
    from analysis.table import Table


def report(argv: list[str]) -> int:
    """`peftlab report NAME [--from wandb PROJECT] [--runs DIR] [--out DIR] [--partial] [--allow-mixed] [--json]`."""
    from analysis.arguments import parser

    made = parser("report", runs=True, sweep=True)
    made.add_argument("--out", type=Path, default=Path("report"), help="folder of the reports (default: report)")
    made.add_argument("--partial", action="store_true", help="show holes instead of refusing an incomplete sweep")
    made.add_argument(
        "--allow-mixed",
        action="store_true",
        help="environments as blocks of their own, and settings that differ as a note, instead of a refusal",
    )
    made.add_argument(
        "--from", dest="source", nargs=2, metavar=("wandb", "PROJECT"), help="W&B instead of the runs folder"
    )
    given = made.parse_args(argv)
    frame = _frame(given)
    if not given.json:
        _answer(frame, given.out)
        return 0
    from analysis.report.build import write_report
    from analysis.report.summary import summary

    path = write_report(frame, given.out / frame.name)
    return _print_json(summary(frame) | {"report": str(path)})


def _frame(given: "Namespace") -> "Frame":
    from analysis.from_wandb import from_wandb
    from analysis.load import load
    from harness.ledger.errors import PlanError

    if given.source is None:
        return load(given.sweep, given.runs, partial=given.partial, allow_mixed=given.allow_mixed)
    kind, project = given.source
    if kind != "wandb":
        raise PlanError(f"--from {kind}: records come from the runs folder, or with `--from wandb PROJECT` from W&B.")
    return from_wandb(given.sweep, project, given.runs, partial=given.partial, allow_mixed=given.allow_mixed)


def compare(argv: list[str]) -> int:
    """`peftlab compare TABLE [--metric NAME] [--direction max|min] [--control METHOD] [--json]`: ranking tests."""
    from analysis.arguments import parser
    from analysis.compare import as_json, compare_csv, control_of
    from analysis.tables.differences import difference_table
    from analysis.tables.ranking import pair_table, rank_table

    made = parser("compare")
    made.add_argument("table", type=Path, help="CSV, Markdown or LaTeX: model, dataset, method, metric, value, or wide")
    made.add_argument("--direction", choices=("max", "min"), default="", help="for metrics whose name is not known")
    made.add_argument("--metric", default="", help="what a wide table holds, such as accuracy")
    made.add_argument("--control", default="", help="the method that the others are tested against")
    given = made.parse_args(argv)
    comparison = compare_csv(given.table, given.direction, given.metric)
    control = control_of(comparison, given.control)
    if given.json:
        return _print_json(as_json(comparison, control))
    sizes = difference_table(comparison, control)
    return _print_tables([rank_table(comparison, control), pair_table(comparison), *([sizes] if sizes else [])])


def audit(argv: list[str]) -> int:
    """`peftlab audit NAME [--runs DIR] [--json]`: what is suspicious; exit code 1 when there is a finding."""
    from analysis.arguments import parser
    from analysis.audit import audit as findings_of
    from analysis.audit import audit_table
    from analysis.load import load

    given = parser("audit", runs=True, sweep=True).parse_args(argv)
    frame = load(given.sweep, given.runs, partial=True, allow_mixed=True)
    found = findings_of(frame)
    if given.json:
        _print_json({"sweep": frame.name, "findings": [vars(f) for f in found]})
    else:
        _print_tables([audit_table(frame, found)])
    return 1 if found else 0


def advise(argv: list[str]) -> int:
    """`peftlab advise [--max-gb N] [--max-hours N] [task=… model=… dataset=… method=…] [--runs DIR] [--json]`."""
    from analysis.advise import advise as options_of
    from analysis.advise import as_json as plain
    from analysis.advise import everything, limits, sentences
    from analysis.arguments import above_zero, parser, wanted
    from analysis.tables.advice import advice_table

    made = parser("advise", runs=True)
    made.add_argument("wanted", nargs="*", metavar="task=text", help="task=, model=, dataset=, method=")
    made.add_argument("--max-gb", type=above_zero, help="peak memory while training, 10^9 bytes")
    made.add_argument("--max-hours", type=above_zero, help="training and evaluation of a run")
    given = made.parse_intermixed_args(argv)
    frame = everything(given.runs)
    options = options_of(frame, wanted(given.wanted), given.max_gb, given.max_hours)
    if given.json:
        said = {
            "options": plain(options),
            "advice": list(sentences(frame, options)),
            "limits": list(limits(frame, options)),
        }
        return _print_json(said)
    budget = [f"{given.max_gb:g} GB"] if given.max_gb is not None else []
    budget += [f"{given.max_hours:g} h"] if given.max_hours is not None else []
    for sentence in sentences(frame, options):
        print(sentence)
    return _print_tables([advice_table(frame, options, " and ".join(budget) or "no limit")])


def _print_json(tree: object) -> int:
    json.dump(tree, sys.stdout, allow_nan=False, indent=2, ensure_ascii=False)
    print()
    return 0


def _print_tables(tables: "list[Table]") -> int:
    from analysis.render.terminal import print_table

    for table in tables:
        print_table(table, _console())
    return 0


def _console() -> "Console":
    """A log file is wider than rich's guess of 80 columns."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=160)


def _answer(frame: "Frame", out: Path) -> None:
    from rich.text import Text

    from analysis.chosen import compared
    from analysis.render.terminal import print_table
    from analysis.report.build import write_report
    from analysis.tables.tradeoff import tradeoffs
    from analysis.verdict import verdicts

    console = _console()
    for note in frame.notes:
        console.print(note, style="yellow", markup=False)
    for table in tradeoffs(compared(frame)):
        print_table(table, console)
    for verdict in verdicts(frame):
        console.print(Text.assemble((f"{verdict.block}: ", "bold"), " ".join(verdict.sentences)))
    path = write_report(frame, out / frame.name)
    console.print(f"Report: {path}", markup=False, soft_wrap=True, highlight=False)
