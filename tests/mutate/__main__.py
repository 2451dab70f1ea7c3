"""`python -m tests.mutate [WORD]`: put each fault into a copy of the source, run its tests, and list the survivors.

WORD: only faults whose file or sentence holds it. Exit code 1 when a fault survives; 2 when no fault holds the word, or
a fault's text is not in the source, or a test that it names is not there or fails without it.
"""

import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutate.fault import Fault
from tests.mutate.faults import FAULTS
from tests.mutate.run_pytest import ROOT, run_pytest

COPIED = ("analysis", "conf", "harness", "methods", "slurm", "tests", "docs", "pyproject.toml", "CONTRIBUTING.md")
WORKERS = 2
PROCESSES = multiprocessing.get_context("forkserver")  # each has the slow libraries at once, and none of the source
PRELOADED = ("pytest", "torch", "transformers", "peft", "sklearn.datasets", "pyarrow.parquet", "matplotlib.pyplot",
             "hypothesis", "hydra.extra.pytest_plugin", "anyio.pytest_plugin")  # fmt: skip


class Unfit(Exception):
    """Faults, or tests that they name, that are not those of the source."""


def main(words: list[str], root: Path = ROOT, faults: tuple[Fault, ...] = FAULTS) -> int:
    chosen = [fault for fault in faults if all(word in f"{fault.file} {fault.what}" for word in words)]
    began = time.monotonic()
    try:
        _check(chosen, words, root)
        survivors = _run(chosen, root)
    except Unfit as error:
        print(error, file=sys.stderr)
        return 2
    noticed = len(chosen) - len(survivors)
    print(f"{len(chosen)} faults, {noticed} noticed, {len(survivors)} survived; {time.monotonic() - began:.0f} s")
    return 1 if survivors else 0


def _check(chosen: list[Fault], words: list[str], root: Path) -> None:
    if not chosen:
        raise Unfit(f"No fault's file or sentence holds {' and '.join(words)}: tests/mutate lists them.")
    reasons = [f"“{fault.what}”: {reason}" for fault in chosen if (reason := fault.why_not(root))]
    if reasons:
        raise Unfit(
            f"Faults in tests/mutate that do not fit the source, to be brought up to date: {'; '.join(reasons)}."
        )


def _run(chosen: list[Fault], root: Path) -> list[Fault]:
    """The survivors. Raises Unfit when a test fails without any fault."""
    PROCESSES.set_forkserver_preload(list(PRELOADED))
    with tempfile.TemporaryDirectory() as folder:
        copies = [_copy(root, Path(folder) / str(number)) for number in range(WORKERS)]
        failed = _failed(copies[0], sorted({test for fault in chosen for test in fault.tests}))
        if failed:
            raise Unfit(f"Without any fault this test fails: {failed}.")
        with ThreadPoolExecutor(WORKERS) as pool:
            shares = [chosen[number::WORKERS] for number in range(WORKERS)]
            return [fault for share in pool.map(_survivors, copies, shares) for fault in share]


def _survivors(copy: Path, faults: Iterable[Fault]) -> list[Fault]:
    alive = []
    for fault in faults:
        path, began = copy / fault.file, time.monotonic()
        sound = path.read_text(encoding="utf-8")
        path.write_text(fault.applied_to(sound), encoding="utf-8")
        failed = _failed(copy, fault.tests)
        path.write_text(sound, encoding="utf-8")
        outcome = f"noticed by {failed}" if failed else "SURVIVED"
        print(f"{fault.file}: {fault.what}: {outcome} ({time.monotonic() - began:.1f} s)", flush=True)
        alive += [] if failed else [fault]
    return alive


def _copy(root: Path, target: Path) -> Path:
    target.mkdir()
    for name in COPIED:
        source = root / name
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, target / name)
    return target


def _failed(copy: Path, tests: Iterable[str]) -> str | None:
    """The first test that fails, in a process of its own; None when all pass."""
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=run_pytest, args=(copy, tuple(tests), sender))
    process.start()
    sender.close()
    try:
        code, failures = receiver.recv()
    except EOFError:
        code, failures = None, ()
    process.join()
    if code not in (0, 1):  # 2: no file of tests could be read; 4 and 5: a test that is named is not there
        raise Unfit(f"pytest ended with {code or process.exitcode}: {' '.join(tests)}.")
    return failures[0] if code else None


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.exit(main(sys.argv[1:]))
