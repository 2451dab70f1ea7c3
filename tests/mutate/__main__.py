"""`python -m tests.mutate [WORD]`: put each fault into a copy of the source, run its tests, and list the survivors.

WORD: only faults whose file or sentence holds it. Exit code 1 when a fault survives, or when its tests fail without it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutate.fault import Fault
from tests.mutate.faults import FAULTS

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("analysis", "conf", "harness", "methods", "slurm", "tests", "docs", "pyproject.toml")
WORKERS = 2


def main(words: list[str]) -> int:
    chosen = [fault for fault in FAULTS if all(word in f"{fault.file} {fault.what}" for word in words)]
    with tempfile.TemporaryDirectory() as folder:
        copies = [_copy(Path(folder) / str(number)) for number in range(WORKERS)]
        tests = sorted({test for fault in chosen for test in fault.tests})
        if not _passes(copies[0], tests):
            print("these tests fail without any fault: " + " ".join(tests), file=sys.stderr)
            return 1
        with ThreadPoolExecutor(WORKERS) as pool:
            shares = [chosen[number::WORKERS] for number in range(WORKERS)]
            survivors = [fault for share in pool.map(_survivors, copies, shares) for fault in share]
    print(f"{len(chosen)} faults, {len(survivors)} survived")
    return 1 if survivors else 0


def _survivors(copy: Path, faults: Iterable[Fault]) -> list[Fault]:
    alive = []
    for fault in faults:
        path = copy / fault.file
        sound = path.read_text(encoding="utf-8")
        path.write_text(fault.applied_to(sound), encoding="utf-8")
        survived = _passes(copy, fault.tests)
        path.write_text(sound, encoding="utf-8")
        print(f"{'SURVIVED' if survived else 'noticed '}  {fault.file}: {fault.what}", flush=True)
        alive += [fault] if survived else []
    return alive


def _copy(target: Path) -> Path:
    target.mkdir()
    for name in COPIED:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, target / name)
    return target


def _passes(copy: Path, tests: Iterable[str]) -> bool:
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    kept = f"cache_dir={copy.parent / 'cache'}"  # data and models that tests prepare, before any fault is put in
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-o", kept, *tests]
    ended = subprocess.run(command, cwd=copy, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if ended.returncode not in (0, 1, 2):  # 4 and 5: a test that is named is not there
        raise SystemExit(f"pytest ended with {ended.returncode}: {' '.join(command)}")
    return ended.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
