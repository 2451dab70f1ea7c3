"""Nodes on which workers die: written down as it happens; the next submission excludes and names them."""

import json
import os
import socket
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

DAY = 86_400.0


def note_death(runs: Path, how: str, ids: list[str]) -> None:
    """Append one line."""
    line = {"t": time.time(), "node": this_node(), "how": how, "ids": ids}
    with (runs / "jobs" / "deaths.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def this_node() -> str:
    """The node's name in SLURM's words."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def bad_nodes(runs: Path, after: int, now: float, excluded_runs: Collection[str] = ()) -> Mapping[str, str]:
    """Node -> why it is excluded: `after` workers of different runs died there within a day.

    excluded_runs: those whose death is not the node's fault (they ran out of memory).
    """
    died: dict[str, set[str]] = {}
    for line in _deaths(runs / "jobs" / "deaths.jsonl"):
        if now - line["t"] < DAY:
            died.setdefault(line["node"], set()).update(line["ids"] or [f"at {line['t']}"])
    node_deaths = {node: ids.difference(excluded_runs) for node, ids in died.items()}
    return {
        node: f"workers of {len(ids)} run{'s' * (len(ids) > 1)} died there within a day"
        for node, ids in node_deaths.items()
        if len(ids) >= after
    }


def _deaths(path: Path) -> Iterator[Mapping[str, Any]]:
    """Whole lines, and no others; two nodes that append at the same moment may tear one on a network file system."""
    for text in path.read_bytes().splitlines() if path.is_file() else ():
        with suppress(ValueError):
            line = json.loads(text)
            if isinstance(line, dict) and _is_death(line):
                yield line


def _is_death(line: Mapping[str, Any]) -> bool:
    ids = line.get("ids")
    if not isinstance(ids, list) or not all(isinstance(run_id, str) for run_id in ids):
        return False
    return isinstance(line.get("t"), int | float) and isinstance(line.get("node"), str)
