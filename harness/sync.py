"""`peftlab sync`: upload the offline W&B runs of a store, each once. The records stay what tables are made of.

W&B's own tool does the upload and leaves its mark (`*.wandb.synced`) beside what is up there. A run in three attempts
has three offline folders and one id, and is one run up there. Runs without a record are left alone: they may be live.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from harness.data.hub import silent
from harness.ledger.store import Store
from harness.plan import read_request
from harness.settings import settings_from
from harness.verbs import flags_of

console = Console(highlight=False, soft_wrap=True)
AT_ONCE = 50  # runs handed to one process of W&B's tool: it takes two seconds to start


def main(argv: list[str]) -> int:
    """`peftlab sync [runs=DIR]`: 0 when every finished run is up there, 1 when one is not."""
    _, words = flags_of(argv, ())
    store = Store(settings_from(read_request(words).config).runs)
    runs = waiting(store)
    if not runs:
        console.print(f"{store.root}: no offline W&B run is waiting.", markup=False)
        return 0
    if reason := silent(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai"):
        console.print(f"{len(runs)} runs are waiting, and {reason}; sync where there is a network.", markup=False)
        return 1
    parts = [runs[start : start + AT_ONCE] for start in range(0, len(runs), AT_ONCE)]
    said = [upload([folder for run in part for folder in run]) for part in track(parts, "uploading", console=console)]
    left = waiting(store)
    console.print(f"{len(runs) - len(left)} of {len(runs)} runs uploaded.", markup=False)
    if left:
        why = next((line for line in said if line), "no reason was given")
        console.print(f"not uploaded: {', '.join(run[0].parents[1].name for run in left)}: {why}", markup=False)
    return 1 if left else 0


def waiting(store: Store) -> list[list[Path]]:
    """For each run that has a record, its offline folders that are not up there yet, oldest first."""
    found: dict[Path, list[Path]] = {}
    for file in sorted(store.root.glob("*/wandb/offline-run-*/*.wandb")):
        run = file.parents[2]
        if not file.with_name(file.name + ".synced").exists() and store.status(run.name) in ("done", "failed"):
            found.setdefault(run, []).append(file.parent)
    return list(found.values())


def upload(folders: Sequence[Path]) -> str:
    """Hand folders to `wandb sync`, which uploads those of one run in the order of time; what went wrong, in a line."""
    command = [str(Path(sys.executable).parent / "wandb"), "sync", *map(str, folders)]
    with tempfile.TemporaryDirectory() as folder:  # the tool leaves logs where it is started
        said = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL,
            env=os.environ | {"WANDB_SILENT": "false", "WANDB_DIR": folder},
        )  # fmt: skip
    lines = [line.strip() for line in (said.stdout + said.stderr).splitlines() if "rror" in line]
    return lines[-1] if said.returncode and lines else ""
