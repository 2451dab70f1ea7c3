"""Some tests, in a copy of the project."""

import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run_pytest(copy: Path, tests: tuple[str, ...]) -> None:
    """Ends its process with pytest's exit code. The source is that of the copy, and nothing is of the checkout."""
    os.chdir(copy)
    sys.path[:] = [str(copy), *(entry for entry in sys.path if Path(entry or ROOT).resolve() != ROOT)]
    sys.dont_write_bytecode = True
    kept = f"cache_dir={copy.parent / 'cache'}"  # data and models that tests prepare, before any fault is put in
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        code = pytest.main(["-x", "-q", "-W", "ignore::pytest.PytestAssertRewriteWarning", "-o", kept, *tests])
    sys.exit(code)
