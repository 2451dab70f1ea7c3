"""What is untrue, unproved or suspicious in a sweep's records, before anybody believes its tables."""

from typing import Any

import pandas as pd

from analysis.checks.finding import Finding
from analysis.checks.proofs import prove
from analysis.checks.sweep import check_sweep
from analysis.frame import Frame
from analysis.table import Cell, Head, Mark, Table
from analysis.tables.cells import footer

_MARKS: dict[str, Mark] = {"refuted": "bad", "unproved": "absent", "suspicious": ""}


def audit(frame: Frame, *, fresh: bool = True) -> tuple[Finding, ...]:
    """All findings, in a fixed order: each run against its own folder, runs against each other, then the sweep.

    The frame is loaded with partial=True and allow_mixed=True, or it would be refused first. `fresh=False` takes what
    loading proved a moment ago of files that have not changed since (a report's audit).
    """
    proofs = None if fresh else frame.kept.get("proofs")
    if proofs is None:
        ids = [run_id for run_id in frame.rows["id"] if run_id]
        proofs = () if frame.runs is None else prove(frame.runs, ids, frame.name, fresh=fresh)
    rows = dict(zip(frame.rows["id"], frame.rows[["block", "label", "seed"]].itertuples(index=False), strict=True))
    return (*(_placed(finding, rows.get(finding.where)) for finding in proofs), *check_sweep(frame))


def audit_table(frame: Frame, findings: tuple[Finding, ...]) -> Table:
    """The findings as a table."""
    heads_of = {(f.kind, f.level): (Cell(f.kind, mark=_MARKS[f.level]), Cell(f.level)) for f in findings}
    rows = tuple((*heads_of[f.kind, f.level], Cell(f.where), Cell(f.what)) for f in findings)
    count = f"{len(findings)} finding{'s' * (len(findings) > 1)}"
    refuted = len({run for f in findings if f.level == "refuted" for run in f.runs})
    note = f"{count}, {refuted} records refuted: no table takes them." if refuted else f"{count}."
    note = note if findings else "No finding: every check passed."
    data = pd.DataFrame([vars(f) for f in findings], columns=["kind", "level", "where", "what", "runs"])
    heads = (Head("check"), Head("level"), Head("where"), Head("finding"))
    return Table("audit", "Audit", heads, rows, (note, footer(frame)), data)


def _placed(finding: Finding, run: Any) -> Finding:
    """A run's cell and seed instead of its bare id; `run` is its block, label and seed, None where it has no row."""
    if run is None:
        return finding
    where = f"{run.block}, {run.label}, seed {run.seed}"
    return Finding(finding.kind, where, f"{finding.what} (run {finding.where})", finding.level, finding.runs)
