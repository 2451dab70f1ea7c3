"""Some tests, in a copy of the project."""

import gc
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Failures:
    """A pytest plugin that keeps the names of the tests that fail."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.names += [report.nodeid] if report.failed else []


def run_pytest(copy: Path, tests: tuple[str, ...], results: Connection) -> None:
    """Sends pytest's exit code and the tests that failed. The source is the copy's, and nothing is the checkout's."""
    gc.freeze()  # pytest collects garbage ten times, which would walk through all of the preloaded libraries
    os.chdir(copy)
    sys.path[:] = [str(copy), *(entry for entry in sys.path if Path(entry or ROOT).resolve() != ROOT)]
    sys.dont_write_bytecode = True
    kept = f"cache_dir={copy.parent / 'cache'}"  # data and models that tests prepare, before any fault is put in
    failures = Failures()
    options = ["-x", "-q", "-W", "ignore::pytest.PytestAssertRewriteWarning", "-o", kept]
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        code = pytest.main([*options, *tests], plugins=[failures])
    results.send((int(code), tuple(failures.names)))
