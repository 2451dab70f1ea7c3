"""The verbs of the command line that read records. Each takes its parsed arguments and returns an exit code."""

import gc
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.ledger.life import shown

if TYPE_CHECKING:  # named only: pandas and rich load when a verb is called
    from argparse import Namespace

    from rich.console import Console

    from analysis.frame import Frame
    from analysis.table import Table


def report(given: "Namespace") -> int:
    """`peftlab report NAME… [--from wandb PROJECT] [--runs DIR] [--out DIR] [--partial] [--allow-mixed] [--json]`."""
    with _collector_off():
        with shown(f"reading the records of {', '.join(given.sweep)}"):
            frame = _frame(given)
        return _report(frame, given.out, given.json)


@contextmanager
def _collector_off() -> Iterator[None]:
    """A report makes a million objects and hardly any garbage: to look for that took an eighth of its CPU time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _report(frame: "Frame", out: Path, as_json: bool) -> int:
    if not as_json:
        _answer(frame, out)
        return 0
    from analysis.report.build import write_report
    from analysis.report.summary import summary

    with shown("report", clock=False) as say:
        path = write_report(frame, out / frame.name, say)
    return _print_json(summary(frame) | {"report": str(path)})


def _frame(given: "Namespace") -> "Frame":
    from analysis.from_wandb import from_wandb
    from analysis.load import load
    from harness.ledger.errors import PlanError

    if given.source is None:
        return load(given.sweep, given.runs, partial=given.partial, allow_mixed=given.allow_mixed)
    kind, project = given.source
    if len(given.sweep) > 1:
        raise PlanError(f"--from {kind}: one sweep at a time; name one of {', '.join(given.sweep)}.")
    if kind != "wandb":
        raise PlanError(f"--from {kind}: records come from the runs folder, or with `--from wandb PROJECT` from W&B.")
    return from_wandb(given.sweep[0], project, given.runs, partial=given.partial, allow_mixed=given.allow_mixed)


def compare(given: "Namespace") -> int:
    """`peftlab compare TABLE [--metric NAME] [--direction max|min] [--control METHOD] [--json]`: ranking tests."""
    with shown(f"comparing what is in {given.table}"):
        from analysis.compare import as_json, compare_csv, control_of
        from analysis.tables.differences import difference_table
        from analysis.tables.ranking import pair_table, rank_table

        comparison = compare_csv(given.table, given.direction, given.metric)
    control = control_of(comparison, given.control)
    if given.json:
        return _print_json(as_json(comparison, control))
    sizes = difference_table(comparison, control)
    return _print_tables([rank_table(comparison, control), pair_table(comparison), *([sizes] if sizes else [])])


def audit(given: "Namespace") -> int:
    """`peftlab audit NAME [--runs DIR] [--json]`: what is suspicious; exit code 1 when there is a finding."""
    with shown(f"looking through the records of {given.sweep}"):
        from analysis.audit import audit as findings_of
        from analysis.audit import audit_table
        from analysis.load import load

        frame = load(given.sweep, given.runs, partial=True, allow_mixed=True)
        findings = findings_of(frame)
    if given.json:
        _print_json({"sweep": frame.name, "findings": [vars(finding) for finding in findings]})
    else:
        _print_tables([audit_table(frame, findings)])
    return 1 if findings else 0


def bundle(given: "Namespace") -> int:
    """`peftlab bundle NAME [OUT] [--runs DIR] [--json]`: a file of a sweep's records for others."""
    with shown(f"checking the records of {given.sweep}, and masking what is of this machine"):
        from analysis.sharing.bundle import bundle as write_bundle
        from analysis.sharing.bundle import said

        made = write_bundle(given.sweep, given.runs, given.out or Path(f"{given.sweep}.zip"))
    if given.json:
        return _print_json(vars(made) | {"path": str(made.path)})
    for sentence in said(made):
        print(sentence)
    return 0


def pool(given: "Namespace") -> int:
    """`peftlab pool PLACE … [--out DIR] [--json]`: the records of several sites in one comparison."""
    with _collector_off(), ExitStack() as until_the_end:
        with shown("reading and checking the records of each place"):
            from analysis.sharing.pool import pooled

            frame = until_the_end.enter_context(pooled(given.places))
        return _report(frame, given.out, given.json)


def advise(given: "Namespace") -> int:
    """`peftlab advise [--max-gb N] [--max-hours N] [task=… model=… dataset=… method=…] [--runs DIR] [--json]`."""
    with shown("reading the records of the store", clock=False):  # shapes that are new are counted under a bar
        from analysis.advise import advise as options_of
        from analysis.advise import as_json as plain
        from analysis.advise import everything, limits, sentences
        from analysis.deciding import evidence
        from analysis.tables.advice import advice_table
        from analysis.unrecorded import unrecorded
        from analysis.untried import Budget, untried, untried_cell
        from analysis.untried import sentences as of_untried

        wanted, limit = dict(given.wanted), Budget(given.max_gb, given.max_hours)
        if said := unrecorded(given.runs, wanted):
            absent = untried_cell(wanted, limit, given.estimate)
        else:
            frame = everything(given.runs)
            options = options_of(frame, wanted, given.max_gb, given.max_hours)
            absent = untried(frame, options, wanted, limit, given.estimate)
    if said:
        answer = {"options": [], "advice": [], "evidence": [], "limits": said, "untried": [vars(a) for a in absent]}
        return _print_json(answer) if given.json else _say((*said, *of_untried(absent, limit)))
    if given.json:
        answer = {
            "options": plain(options),
            "advice": list(sentences(frame, options)),
            "evidence": list(evidence(frame, options)),
            "limits": list(limits(frame, options)),
            "untried": [vars(each) for each in absent],
        }
        return _print_json(answer)
    budget = [f"{given.max_gb:g} GB"] if given.max_gb is not None else []
    budget += [f"{given.max_hours:g} h"] if given.max_hours is not None else []
    for words in zip(sentences(frame, options), evidence(frame, options), strict=True):
        print(*filter(None, words), sep="\n  ")
    _say(of_untried(absent, limit))
    return _print_tables([advice_table(frame, options, " and ".join(budget) or "no limit")])


def _say(sentences: "tuple[str, ...]") -> int:
    for sentence in sentences:
        print(sentence)
    return 0


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
    with shown("report", clock=False) as say:
        path = write_report(frame, out / frame.name, say)
    console.print(f"Report: {path}", markup=False, soft_wrap=True, highlight=False)
