"""The soak, small: sixty runs under random attacks, each done exactly once."""

import pytest

from slurm.sandbox import sleepy
from slurm.sandbox.chaos import soak, wrong

pytestmark = pytest.mark.slurm


@pytest.mark.slow
def test_sixty_runs_under_random_attacks_are_each_done_exactly_once(site):
    said = []
    assert soak(site.sandbox, site.store.root, 60, 1, said.append) == [], "\n".join(said)


def test_the_soak_sees_a_run_that_is_not_done_one_done_twice_and_another_score(site, tmp_path):
    plan, store = sleepy.plan(4, name="chaos"), site.store
    for run in plan.runs[1:]:
        store.paths(run.id).folder.mkdir(parents=True)
        sleepy.run(run, store, None, lambda: False)
    with (store.paths(plan.ids[1]).folder / "starts.log").open("a") as log:
        log.write("end 1 1.0 twice\n")
    record = store.paths(plan.ids[2]).record
    record.write_text(record.read_text().replace('"value":0.', '"value":0.9').replace('"value": 0.', '"value": 0.9'))
    words = wrong(plan, store, tmp_path / "calm")
    assert [word.split()[0] for word in words] == list(plan.ids[:3])
