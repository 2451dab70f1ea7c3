"""`peftlab sync`: upload the offline W&B runs of a store, each once. The records stay what tables are made of."""

import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from harness.ledger.store import Store
from harness.plan import read_request
from harness.settings import settings_from
from harness.verbs import flags_of

console = Console(highlight=False, soft_wrap=True)
MARK = ".synced"  # beside the offline folder that was uploaded whole


def main(argv: list[str]) -> int:
    """`peftlab sync [runs=DIR]`: 0 when every offline run is up there, 1 when one could not be uploaded."""
    _, words = flags_of(argv, ())
    store = Store(settings_from(read_request(words).config).runs)
    folders = waiting(store)
    if not folders:
        console.print(f"{store.root}: no offline W&B run is waiting.", markup=False)
    failed = [folder for folder in folders if not upload(folder)]
    if folders:
        console.print(f"{len(folders) - len(failed)} of {len(folders)} offline runs uploaded.", markup=False)
    return 1 if failed else 0


def waiting(store: Store) -> list[Path]:
    """Offline folders that were not uploaded yet. A run in three attempts has three, and one id."""
    folders = sorted(store.root.glob("*/wandb/offline-run-*"))
    return [folder for folder in folders if folder.is_dir() and not folder.with_name(folder.name + MARK).exists()]


def upload(folder: Path) -> bool:
    """Hand one folder to `wandb sync`; it is marked once that succeeded."""
    command = [str(Path(sys.executable).parent / "wandb"), "sync", "--append", str(folder)]
    said = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"WANDB_SILENT": "false"})
    if said.returncode != 0:
        last = (said.stderr or said.stdout).strip().splitlines()
        console.print(f"not uploaded: {folder.name}: {last[-1] if last else 'wandb sync failed'}", markup=False)
        return False
    folder.with_name(folder.name + MARK).touch()
    return True
