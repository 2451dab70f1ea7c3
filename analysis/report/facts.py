"""The facts box of a report: what was planned, what became of it, in which environment."""

import json
from collections import Counter

from analysis.frame import Frame


def facts(frame: Frame) -> list[tuple[str, str]]:
    """(name, value) pairs, from plan and records alone."""
    rows = frame.rows
    done = rows[rows["status"] == "done"]
    entries = [
        ("runs", state(frame)),
        ("methods", ", ".join(frame.methods)),
        ("seeds", ", ".join(str(s) for s in sorted(set(rows["seed"]) - {-1}))),
        ("control", frame.control or "none"),
        ("margin", "none set in the sweep" if frame.margin is None else f"{frame.margin:g}, set in the sweep"),
        ("plan", frame.digest),
        ("commit", _values(done["commit"])),
        ("environment", _values(done["fingerprint"])),
        ("device", _values(done["device"])),
        ("host", _values(done["host"])),
        ("packages", _packages(list(done["packages"]))),
    ]
    return [(name, value) for name, value in entries if value]


def state(frame: Frame) -> str:
    """`33 runs done, 2 failed, 1 cell skipped`."""
    counts = Counter(frame.rows["status"])
    others = [f"{counts[s]} {s}" for s in ("failed", "damaged", "missing") if counts[s]]
    others += [f"{counts['skipped']} cell{'s' * (counts['skipped'] > 1)} skipped"] if counts["skipped"] else []
    return ", ".join([f"{counts['done']} runs done", *others])


def _values(column: object) -> str:
    return ", ".join(sorted({str(value) for value in column if value}))  # type: ignore[union-attr]


def _packages(texts: list[str]) -> str:
    """Versions as `torch 2.13.0`; a version that differs between runs is shown twice."""
    seen: set[tuple[str, str]] = set()
    for text in set(texts):
        versions = json.loads(text) if text.startswith("{") else {}
        seen |= {(str(name), str(version)) for name, version in versions.items()}
    return ", ".join(f"{name} {version}" for name, version in sorted(seen))
