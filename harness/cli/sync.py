"""`peftlab sync`: upload the offline W&B runs of a store, each once. The records stay what tables are made of.

W&B's own tool does the upload and leaves its mark (`*.wandb.synced`) beside what is up there. A run in three attempts
has three offline folders and one id, and is one run up there. Runs without a record are left alone: they may be live.
The file of an attempt that was killed stops in the middle: the tool uploads what there is, does not mark it, and would
leave out the attempts after it. So attempts go up in rounds, and what is cut off is marked here.
"""

import json
import os
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from rich.console import Console

from harness.config.settings import settings_from
from harness.ledger.life import shown
from harness.ledger.store import Store
from harness.planning.counted import counted
from harness.planning.plan import request_of
from harness.trackers.wandb_mirror import unreachable

console = Console(highlight=False, soft_wrap=True)
AT_ONCE = 50  # folders handed to one process of W&B's tool: it takes two seconds to start
CUT_OFF = "ends with an incomplete record"  # the tool's own words


def main(given: Namespace) -> int:
    """`peftlab sync [runs=DIR] [--json]`: 0 when every finished run is up there, 1 when one is not."""
    store = Store(settings_from(request_of(given.overrides).config).runs)
    runs = waiting(store)
    left, why = _uploaded(runs, store) if runs else ([], "")
    if given.json:
        print(json.dumps({"runs": str(store.root), "waiting": _ids(runs), "left": _ids(left), "why": why}, indent=2))
    elif not runs:
        console.print(f"{store.root}: no offline W&B run is waiting.", markup=False)
    else:
        console.print(f"{len(runs) - len(left)} of {len(runs)} runs uploaded.", markup=False)
        if left:
            console.print(f"not uploaded: {', '.join(_ids(left))}: {why}", markup=False)
    return 1 if left else 0


def _uploaded(runs: list[list[Path]], store: Store) -> tuple[list[list[Path]], str]:
    """Upload them; those that are still waiting, and why."""
    address = os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai"
    with shown("asking the server of W&B"):
        reason = unreachable(address)
    if reason:
        return runs, f"{reason}; sync where there is a network"
    answers, together = [], rounds(runs)
    with counted("uploading", len(together)) as one_more:
        for folders in together:
            answers.append(upload(folders))
            one_more()
    left = waiting(store)
    return left, next((line for line in answers if line), "no reason was given") if left else ""


def _ids(runs: Sequence[Sequence[Path]]) -> list[str]:
    return [folders[0].parents[1].name for folders in runs]


def waiting(store: Store) -> list[list[Path]]:
    """For each run that has a record, its offline folders that are not up there yet, oldest first."""
    folders_of: dict[Path, list[Path]] = {}
    for file in sorted(store.root.glob("*/wandb/offline-run-*/*.wandb")):
        run = file.parents[2]
        if not _mark(file).exists() and store.status(run.name) in ("done", "failed"):
            folders_of.setdefault(run, []).append(file.parent)
    return list(folders_of.values())


def rounds(runs: Sequence[Sequence[Path]]) -> list[list[Path]]:
    """Every run's first attempt, then every run's second; at most AT_ONCE folders together."""
    attempts = zip_longest(*runs)
    return [list(part) for attempt in attempts for part in _cut([folder for folder in attempt if folder], AT_ONCE)]


def upload(folders: Sequence[Path]) -> str:
    """Hand folders of different runs to `wandb sync`; what went wrong, in a line."""
    command = [str(Path(sys.executable).parent / "wandb"), "sync", *map(str, folders)]
    with tempfile.TemporaryDirectory() as logs:  # the tool leaves them where it is started
        done = subprocess.run(
            command, cwd=logs, capture_output=True, text=True, stdin=subprocess.DEVNULL,
            env=os.environ | {"WANDB_SILENT": "false", "WANDB_DIR": logs},
        )  # fmt: skip
    errors = [line.strip() for line in (done.stdout + done.stderr).splitlines() if "rror" in line or "ERROR" in line]
    for folder in folders:
        if any(folder.name in line and CUT_OFF in line for line in errors):
            for file in folder.glob("*.wandb"):
                _mark(file).touch()
    errors = [line for line in errors if CUT_OFF not in line]
    return errors[-1] if errors else f"exit code {done.returncode}" if done.returncode else ""


def _cut(folders: Sequence[Path], size: int) -> list[Sequence[Path]]:
    return [folders[start : start + size] for start in range(0, len(folders), size)]


def _mark(file: Path) -> Path:
    return file.with_name(f"{file.name}.synced")
