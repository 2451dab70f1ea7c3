"""A time limit on a real SLURM. The file sorts last: its sweep goes on in the background of the other tests."""

import pytest

pytestmark = pytest.mark.slurm


def test_a_run_longer_than_the_time_limit_goes_on_in_the_next_start_of_its_job(time_limited, monkeypatch):
    site, plan = time_limited
    monkeypatch.setenv("SLURM_CONF", site.sandbox.env["SLURM_CONF"])
    site.until(lambda: site.finished(plan), "a record, without another command", 150)
    assert site.starts(plan.ids[0]) >= 2 and "timed-out" in site.logs()
    site.settle(plan, limit_minutes=1, warn_seconds=15)
