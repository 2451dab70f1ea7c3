"""A time limit on a real SLURM. The file sorts last: its sweep goes on in the background of the other tests."""

import pytest

from tests.slurm.conftest import HELD, LIMITED
from tests.slurm.test_faults import went_on

pytestmark = pytest.mark.slurm


@pytest.mark.slow
def test_a_real_run_past_its_time_limit_goes_on_with_its_clocks_and_has_the_same_scores(time_limited, monkeypatch):
    site, plan, settings = time_limited
    monkeypatch.setenv("SLURM_CONF", site.sandbox.env["SLURM_CONF"])
    site.until(lambda: site.finished(plan), "a record, without another command")
    assert site.starts(plan.ids[0]) == 2 and "timed-out" in site.logs()
    went_on(site, plan.ids[0])
    site.settle(plan, HELD, settings, **LIMITED)
