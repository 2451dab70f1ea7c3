"""Every fault still fits the source, so that `make mutate` tests what it says; where one does not, the lane says so."""

import ast
from dataclasses import replace
from functools import cache

import pytest

from tests.mutate.__main__ import main
from tests.mutate.fault import Fault
from tests.mutate.faults import FAULTS
from tests.mutate.run_pytest import ROOT


@cache
def functions(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.file}: {fault.what}")
def test_a_fault_changes_one_place_of_the_source_and_names_tests_that_are_there(fault):
    assert fault.why_not(ROOT) is None
    source = (ROOT / fault.file).read_text(encoding="utf-8")
    changed = fault.applied_to(source)
    assert changed != source and compile(changed, fault.file, "exec")
    for test in fault.tests:
        file, _, name = test.partition("::")
        assert name.partition("[")[0] in functions(file) if name else (ROOT / file).is_file()


def test_no_two_faults_have_one_sentence_for_one_file():
    assert len({(fault.file, fault.what) for fault in FAULTS}) == len(FAULTS)


@pytest.fixture
def fault(tmp_path) -> Fault:
    """A source of one line below `tmp_path`, and a fault that fits it."""
    (tmp_path / "source.py").write_text("margin = 1.0  # a\n", encoding="utf-8")
    return Fault("the margin is two", "source.py", "1.0", "2.0", ("tests/test_source.py",))


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"before": "3.0"}, "source.py holds 0 times, not once: 3.0"),
        ({"before": "a"}, "source.py holds 2 times, not once: a"),
        ({"file": "moved.py"}, "moved.py is not there"),
    ],
)
def test_the_lane_refuses_a_fault_that_the_source_does_not_hold_once(tmp_path, capsys, fault, changes, reason):
    assert main([], tmp_path, (replace(fault, **changes),)) == 2
    error = capsys.readouterr().err
    assert reason in error and "the margin is two" in error and error.count("\n") == 1


def test_the_lane_refuses_a_word_that_no_fault_holds(tmp_path, capsys, fault):
    assert main(["chain"], tmp_path, (fault,)) == 2
    assert "holds chain" in capsys.readouterr().err
