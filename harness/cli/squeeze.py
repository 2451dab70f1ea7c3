"""`peftlab squeeze ADAPTER_DIR OUT_DIR --rank 8`: any PEFT LoRA adapter at a lower rank, without training."""

import csv
import json
import os
import shutil
import uuid
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from harness.cli.grammar import load
from harness.cli.tables import folding_table
from harness.ledger.errors import SpecError
from harness.ledger.life import shown

if TYPE_CHECKING:  # torch is loaded once the request is known to be sound
    from harness.models.squeeze import SqueezedModule

PICTURE = "analysis.figures.spectrum:draw_spectrum"


def main(given: Namespace) -> int:
    """Write the squeezed adapter with `squeeze.csv` (a row a module) and `spectrum.png`; print a table by kind."""
    _check(given)
    with shown(f"{given.adapter}: squeezing"):
        modules = _squeezed(given)
    if given.json:
        print(json.dumps([asdict(module) for module in modules]))
    else:
        _print(modules, given.out)
    return 0


def _squeezed(given: Namespace) -> "list[SqueezedModule]":
    from harness.models.lora_folder import open_lora
    from harness.models.squeeze import RankTarget, squeeze

    target = RankTarget(given.rank, given.keep, given.uniform)
    with open_lora(given.adapter) as source, _new_folder(given.out) as part:
        modules = squeeze(source, part, target, given.backend)
        _write_csv(modules, part / "squeeze.csv")
        load(PICTURE)(part / "squeeze.csv", part / "spectrum.png")
    return modules


def _check(given: Namespace) -> None:
    if (given.rank is None) == (given.keep is None):
        raise SpecError("squeeze: give one of --rank N and --keep SHARE.")
    if given.rank is not None and given.rank < 1:
        raise SpecError(f"--rank {given.rank}: a rank is a whole number of at least 1.")
    if given.keep is not None and not 0 < given.keep <= 1:
        raise SpecError(f"--keep {given.keep}: a share is above 0 and at most 1, as in --keep 0.95.")
    if given.uniform and given.keep is None:
        raise SpecError("--uniform goes with --keep; --rank is one rank for all modules already.")
    if not given.adapter.is_dir():
        raise SpecError(f"{given.adapter}: no such folder; squeeze takes the folder of a PEFT LoRA adapter.")


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A folder that appears whole or not at all. Raises SpecError where there is one with files in it."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SpecError(f"{folder} is there already; name a new folder.")
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    part.mkdir(parents=True)
    try:
        yield part
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_csv(modules: Sequence["SqueezedModule"], path: Path) -> None:
    """One row a module; the spectrum in one column, separated by spaces."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["module", "rank_before", "rank", "variance_kept", "spectrum"])
        for row in modules:
            spectrum = " ".join(f"{value:.6g}" for value in row.spectrum)
            writer.writerow([row.module, row.rank_before, row.rank, f"{row.variance_kept:.6f}", spectrum])


def _print(modules: Sequence["SqueezedModule"], folder: Path) -> None:
    table = folding_table("kind", "modules", "rank before", "rank", "variance kept (%)", "least (%)")
    for kind in dict.fromkeys(row.module.rpartition(".")[2] for row in modules):
        rows = [row for row in modules if row.module.rpartition(".")[2] == kind]
        kept = [100 * row.variance_kept for row in rows]
        table.add_row(
            kind,
            str(len(rows)),
            _span([row.rank_before for row in rows]),
            _span([row.rank for row in rows]),
            f"{sum(kept) / len(kept):.2f}",
            f"{min(kept):.2f}",
        )
    console = Console(highlight=False)
    console.print(table)
    console.print(f"{folder}: a PEFT LoRA adapter; per module in squeeze.csv, drawn in spectrum.png.", markup=False)


def _span(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}–{high}"
