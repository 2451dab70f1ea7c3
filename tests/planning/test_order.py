"""The order of work is by seed, block by block, and no method has a place of its own in it."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from harness.config.resolve import Resolver
from harness.ledger.plan import Plan
from harness.planning.order import work_order
from harness.planning.plan import plan_sweep, read_request


@pytest.fixture(scope="module")
def quickstart() -> Plan:
    return plan_sweep(read_request(["sweep=quickstart", "seed=range(40)"]), Resolver())


def test_it_is_the_same_plan(quickstart: Plan) -> None:
    ordered = work_order(quickstart)
    assert sorted(ordered.ids) == sorted(quickstart.ids)
    assert ordered.digest == quickstart.digest and ordered.address == quickstart.address
    assert work_order(ordered) == ordered == work_order(quickstart)


def test_seeds_come_one_after_the_other_and_the_runs_of_a_block_together(quickstart: Plan) -> None:
    runs = work_order(quickstart).runs
    places = [(run.choices["seed"], run.choices["model"], run.choices["dataset"]) for run in runs]
    assert [seed for seed, *_ in places] == [seed for seed in range(40) for _ in range(12)]
    changes = 1 + sum(a != b for a, b in pairwise(places))
    assert changes == 40 * 3


def test_every_method_is_first_about_as_often(quickstart: Plan) -> None:
    first = Counter(run.choices["method"] for run in work_order(quickstart).runs[::4])
    assert set(first) == {"full", "head", "lora", "cla"}
    assert all(15 <= count <= 45 for count in first.values())  # of 120; 30 expected, 4.7 the standard deviation


def test_runs_that_are_added_leave_the_order_of_the_others(quickstart: Plan) -> None:
    fewer = replace(quickstart, runs=tuple(run for run in quickstart.runs if run.choices["method"] != "cla"))
    kept = [run.id for run in work_order(quickstart).runs if run.choices["method"] != "cla"]
    assert list(work_order(fewer).ids) == kept


def test_a_run_comes_after_the_one_it_starts_from(quickstart: Plan) -> None:
    ids = quickstart.ids
    source = dict(pairwise(ids))  # each starts from its neighbour: one chain through the whole plan
    chained = replace(quickstart, runs=tuple(replace(run, source=source.get(run.id)) for run in quickstart.runs))
    assert work_order(chained).ids == tuple(reversed(ids))
    last = tuple(replace(run, source=ids[-1] if run.id == ids[0] else None) for run in quickstart.runs)
    order = list(work_order(replace(quickstart, runs=last)).ids)
    assert order.index(ids[-1]) + 1 == order.index(ids[0])
    rest = [run_id for run_id in order if run_id not in (ids[0], ids[-1])]
    assert rest == [run_id for run_id in work_order(quickstart).ids if run_id not in (ids[0], ids[-1])]


def test_sweeps_of_other_names_have_other_orders(quickstart: Plan) -> None:
    assert work_order(replace(quickstart, name="another")).ids != work_order(quickstart).ids
