"""SLURM's commands as shell scripts: what is asked of them is written down, and they answer what a test wants."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

CONFIG = "echo 'MaxArraySize = 101'"
SUBMITS = "echo Submitted batch job 12"


@pytest.fixture
def fake(tmp_path, monkeypatch) -> Callable[..., Path]:
    """Put commands on PATH: each keeps its environment in <command>.env and a line for each call in <command>.calls."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr("slurm.commands.WAITS", (0.0, 0.0))
    monkeypatch.setattr("slurm.submit_remaining.PAUSES", (0.0, 0.0))

    def put(**scripts: str) -> Path:
        for name, text in ({"squeue": "true", "scontrol": CONFIG, "sbatch": SUBMITS, "srun": "true"} | scripts).items():
            script = folder / name
            script.write_text(f'#!/bin/bash\necho "$*" >> {folder}/{name}.calls\nenv > {folder}/{name}.env\n{text}\n')
            script.chmod(0o755)
        return folder

    return put


def calls(folder: Path, name: str) -> int:
    """How often a command was asked."""
    file = folder / f"{name}.calls"
    return len(file.read_text().splitlines()) if file.exists() else 0
