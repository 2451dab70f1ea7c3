"""Matched settings: what differs within one comparison is refused by name; the project's own sweeps need no excuse."""

from dataclasses import replace

import pandas as pd
import pytest

from analysis.flatten import settings
from analysis.load import load
from analysis.matched import differing
from analysis.planned import planned_rows
from harness.config.compose import choices
from harness.config.resolve import Resolver
from harness.ledger.errors import RecordError
from harness.ledger.record import Record
from harness.planning.plan import plan_sweep, read_request


def with_recipe(method: str, **changes: object):
    """An edit of records: that method has another recipe."""

    def edit(record: Record) -> Record:
        if record.spec["method"]["name"] != method:
            return record
        return replace(record, spec={**record.spec, "recipe": {**record.spec["recipe"], **changes}})

    return edit


def test_a_setting_that_differs_is_refused_by_name(written) -> None:
    runs = written(edit=with_recipe("cla", batch_size=16))
    with pytest.raises(RecordError, match=r"recipe\.batch_size is 16 \(cLA\) and 32 \(Full .*--allow-mixed"):
        load("tiny", runs)
    note = load("tiny", runs, allow_mixed=True).notes[-1]
    assert note.startswith("Settings differ within one comparison: Minilm / TREC50: recipe.batch_size is 16 (cLA)")


def test_a_methods_own_rates_may_differ(written) -> None:
    load("tiny", written(edit=with_recipe("cla", lr=3e-4)))  # equal tuning gives each method its own
    runs = written(edit=with_recipe("cla", head_lr=5e-3))  # but the rule for heads is one
    with pytest.raises(RecordError, match=r"recipe\.head_lr of adapter methods is 0\.001 \(.*\) and 0\.005 \(cLA\)"):
        load("tiny", runs)
    load(
        "tiny", written(edit=with_recipe("cla", lr=3e-4, head_lr=3e-4))
    )  # "the head has its method's rate" is one rule


@pytest.mark.long
@pytest.mark.parametrize("name", choices("sweep"))
def test_a_sweep_of_the_project_compares_under_equal_settings(name: str) -> None:
    if not (request := read_request([f"sweep={name}"])).sweep.grids:
        return
    plan = plan_sweep(request, Resolver())
    rows = planned_rows(plan).head(len(plan.runs))
    known = pd.DataFrame([settings(run.spec) for run in plan.runs]).assign(split="", status="missing")
    assert [str(one) for one in differing(pd.concat([rows, known], axis=1))] == []


def test_another_precision_is_refused(written) -> None:
    def half(record: Record) -> Record:
        if record.spec["method"]["name"] != "full":
            return record
        return replace(record, spec={**record.spec, "model": {**record.spec["model"], "dtype": "bfloat16"}})

    with pytest.raises(RecordError, match=r'model\.dtype is "bfloat16" \(Full fine-tuning\) and "float32"'):
        load("tiny", written(edit=half))


def test_other_data_are_refused_with_advice_that_can_be_followed(written) -> None:
    def other(record: Record) -> Record:
        if record.spec["method"]["name"] != "full":
            return record
        return replace(record, data={**record.data, "source": {"kind": "folder", "sha256": "0" * 64}})

    with pytest.raises(RecordError, match=r"data is facts .*the same sweep command does those anew whose local data"):
        load("tiny", written(edit=other))
