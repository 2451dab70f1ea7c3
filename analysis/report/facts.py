"""The facts box at the head of a report: what was planned, what became of it, in which environment."""

import json
from collections import Counter

from analysis.frame import Frame


def facts(frame: Frame) -> list[tuple[str, str]]:
    """(name, value) pairs, from plan and records alone."""
    rows = frame.rows
    done = rows[rows["status"] == "done"]
    counts = Counter(rows["status"])
    state = ", ".join(f"{counts[s]} {s}" for s in ("done", "failed", "damaged", "missing", "skipped") if counts[s])
    found = [
        ("runs", state),
        ("methods", ", ".join(frame.methods)),
        ("seeds", ", ".join(str(s) for s in sorted(set(rows["seed"]) - {-1}))),
        ("control", frame.control or "none"),
        ("margin", "none set in the sweep" if frame.margin is None else f"{frame.margin:g} points, set in the sweep"),
        ("plan", frame.digest),
        ("commit", _values(done["commit"])),
        ("environment", _values(done["fingerprint"])),
        ("device", _values(done["device"])),
        ("host", _values(done["host"])),
        ("packages", _packages(list(done["packages"]))),
    ]
    return [(name, value) for name, value in found if value]


def _values(column: object) -> str:
    return ", ".join(sorted({str(value) for value in column if value}))  # type: ignore[union-attr]


def _packages(texts: list[str]) -> str:
    """Versions as `torch 2.13.0`; a version that differs between runs is shown twice."""
    seen: set[tuple[str, str]] = set()
    for text in set(texts):
        found = json.loads(text) if text.startswith("{") else {}
        seen |= {(str(name), str(version)) for name, version in found.items()}
    return ", ".join(f"{name} {version}" for name, version in sorted(seen))
