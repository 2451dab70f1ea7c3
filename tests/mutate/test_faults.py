"""Every fault still fits the source, so that `make mutate` tests what it says."""

from pathlib import Path

import pytest

from tests.mutate.faults import FAULTS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.file}: {fault.what}")
def test_a_fault_changes_one_place_of_the_source_and_names_tests_that_are_there(fault):
    source = (ROOT / fault.file).read_text(encoding="utf-8")
    changed = fault.applied_to(source)
    assert changed != source and compile(changed, fault.file, "exec")
    assert all((ROOT / test.partition("::")[0]).is_file() for test in fault.tests)
