"""Sweeps, plans and runs are found by name in one place; a plan that is garbage is named and left out alone."""

import logging
import shutil
from pathlib import Path

import pytest

from harness.__main__ import main
from harness.ledger.errors import PlanError, RecordError
from harness.ledger.lookup import find_run, plans, sweeps
from harness.ledger.plan import read_plan
from harness.ledger.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(shutil.copytree(Path(__file__).parents[1] / "store_v1" / "runs", tmp_path / "runs"))


def test_every_planned_sweep_is_listed(store, tmp_path):
    assert sweeps(store.root) == ["fruit", "quickstart"]
    with pytest.raises(PlanError, match="no sweep was planned"):
        sweeps(tmp_path / "nothing")


def test_a_prefix_is_a_run_that_has_begun_or_else_one_that_is_planned(store):
    assert find_run(store, "43f0") == "43f095a70a568b32"
    assert find_run(store, "5d87") == "5d87e08da1f0dd82", "planned alone"
    with pytest.raises(RecordError, match="3 runs begin so: 54775a3c88e66797, 58"):
        Path(store.root / "58ffffffffffffff").mkdir()
        find_run(store, "5")
    with pytest.raises(RecordError, match="no run begins so"):
        find_run(store, "../")


@pytest.mark.parametrize(
    "garbage", [b"", b"{", b"[]", b"null", b'{"parts": {}}', b"\xff", b'{"parts": {}, "runs": [[1]]}']
)
def test_a_plan_that_is_garbage_is_left_out_alone(store, garbage, caplog):
    (store.root / "plans" / "fruit.json").write_bytes(garbage)
    with caplog.at_level(logging.WARNING):
        assert [plan.name for plan in plans(store.root)] == ["quickstart"]
    assert "fruit.json: not a plan" in caplog.text
    assert find_run(store, "5d87") == "5d87e08da1f0dd82"
    assert main(["status", "--json", "--runs", str(store.root)]) == 0
    assert main(["status", "fruit", "--json", "--runs", str(store.root)]) == 2
    with pytest.raises(PlanError, match="the same sweep command writes it anew"):
        read_plan(store.root, "fruit")
