"""A report is made again when something that it is made of has changed, and only then."""

import pytest

from harness.cli.report_stamp import PAGE, is_current, stamp
from harness.ledger.method_check import MethodCheck, write_check
from harness.ledger.plan import write_plan
from slurm.sandbox import sleepy

PLAN = sleepy.plan(2)
RUN = PLAN.ids[0]


@pytest.fixture
def made(tmp_path):
    """Runs and a page with its stamp."""
    runs, folder = tmp_path / "runs", tmp_path / "report"
    for run_id in PLAN.ids:
        (runs / run_id / "geometry").mkdir(parents=True)
        (runs / run_id / "record.json").write_text("{}")
    write_plan(runs, PLAN)
    folder.mkdir()
    (folder / PAGE).write_text("a page")
    stamp(PLAN, runs, folder)
    return runs, folder


def test_nothing_changed_and_the_plan_written_again_leave_it(made):
    assert is_current(PLAN, *made)
    write_plan(made[0], PLAN)
    assert is_current(PLAN, *made)


CHANGES = {
    "a record": lambda runs, folder: (runs / RUN / "record.json").write_text('{"a": 1}'),
    "a record that went": lambda runs, folder: (runs / RUN / "record.json").unlink(),
    "a side record": lambda runs, folder: (runs / RUN / "geometry" / "x.json").write_text("{}"),
    "what was checked before": lambda runs, folder: write_check(runs, PLAN.name, MethodCheck(1, "x", None, (), {})),
    "another plan": lambda runs, folder: write_plan(runs, sleepy.plan(3, name="other")),
    "no page": lambda runs, folder: (folder / PAGE).unlink(),
    "no stamp": lambda runs, folder: (folder / ".made_of").unlink(),
    "a damaged stamp": lambda runs, folder: (folder / ".made_of").write_bytes(b"\xff"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_makes_it_anew(made, change):
    CHANGES[change](*made)
    assert not is_current(PLAN, *made)


def test_another_plan_and_other_code_make_it_anew(made, monkeypatch):
    assert not is_current(sleepy.plan(1), *made)
    monkeypatch.setattr("harness.cli.report_stamp._code", lambda: ["other"])
    assert not is_current(PLAN, *made)


def test_a_page_that_was_never_made_gets_no_stamp(tmp_path):
    stamp(PLAN, tmp_path, tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
