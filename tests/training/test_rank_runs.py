"""Runs whose rank changes, through the real loop: what they record is believed."""

import pytest

from analysis.checks.run import check_run
from harness.__main__ import main
from harness.ledger.store import Store

WORDS = ("model=vit_micro", "dataset=digits", "recipe=quick_image", "tracker=none", "device=cpu", "recipe.max_steps=12",
         "recipe.evaluations=2")  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ("method=grow", "method.update.rank=1", "method.update.alpha=2", "method.schedule.max_rank=4",
         "method.schedule.every=3"),
        ("method=l1ra", "method.update.shrink=0.2", "method.schedule.rounds=3"),
        ("method=sora", "method.update.shrink=0.1"),
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_a_rank_that_changes_is_in_the_record_which_is_believed(words, tmp_path, peftlab_cache):
    assert main(["run", *WORDS, *words, f"runs={tmp_path}/runs", f"cache={peftlab_cache}"]) == 0
    (folder,) = (tmp_path / "runs").glob("*/record.json")
    record = Store(tmp_path / "runs").read(folder.parent.name)
    last = record.links[-1]
    ranks = list(last.get("ranks", last.get("sites")).values())
    assert len(ranks) == 8, "a query and a value in each of four layers"
    assert check_run(folder.parent) == ()
