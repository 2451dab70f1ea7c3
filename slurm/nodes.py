"""Nodes on which workers die: written down as it happens, named and excluded from then on."""

import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

DAY = 86_400.0


def note_death(runs: Path, how: str, ids: list[str]) -> None:
    """Append one line; whole lines up to a page are written at once by every node."""
    line = {"t": time.time(), "node": this_node(), "how": how, "ids": ids}
    with (runs / "jobs" / "deaths.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def this_node() -> str:
    """The node's name in SLURM's words."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def bad_nodes(runs: Path, after: int, now: float) -> Mapping[str, str]:
    """Node -> why it is excluded: `after` workers of different runs died there within a day."""
    path = runs / "jobs" / "deaths.jsonl"
    if not path.is_file():
        return {}
    died: dict[str, set[str]] = {}
    for text in path.read_text().splitlines():
        line = json.loads(text)
        if now - line["t"] < DAY:
            died.setdefault(line["node"], set()).update(line["ids"] or [f"at {line['t']}"])
    return {
        node: f"workers of {len(ids)} runs died there within a day" for node, ids in died.items() if len(ids) >= after
    }
