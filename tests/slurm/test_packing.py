"""Sizing: what a run needs, how runs are packed, which limit a job gets, how arrays are split. Pure functions."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from harness.execution.local_cluster import LocalCluster
from harness.ledger.parse import parse
from harness.ledger.store import Store
from harness.planning.sizing import host_gigabytes, parameters
from slurm.arrays import split
from slurm.cluster_spec import SlurmCluster
from slurm.nodes import bad_nodes
from slurm.packing import Pack, limit_minutes, pack
from slurm.resources import Need, needs
from slurm.sandbox import sleepy

CONF = Path(__file__).resolve().parents[2] / "conf"


def cluster(**changes) -> SlurmCluster:
    raw = yaml.safe_load((CONF / "cluster/slurm.yaml").read_text())
    return replace(parse(SlurmCluster, raw, "cluster"), **changes)


@pytest.mark.parametrize("path", sorted((CONF / "cluster").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_cluster_card_is_one(path):
    card = yaml.safe_load(path.read_text())
    kinds = {"local": LocalCluster, "slurm": SlurmCluster}
    assert parse(kinds[card["kind"]], card, "cluster").name == path.stem


def test_packs_fill_up_to_the_aimed_minutes_and_keep_every_run_once():
    ids = [f"{i:02}" for i in range(10)]
    packs = pack(ids, {i: Need(4, 600.0) for i in ids}, cluster(minutes=30))
    assert [len(each.ids) for each in packs] == [3, 3, 3, 1]
    assert [i for each in packs for i in each.ids] == ids
    assert packs[0].seconds == 1800


def test_a_run_longer_than_the_aim_has_a_job_of_its_own():
    packs = pack(["a", "b"], {i: Need(4, 9999.0) for i in "ab"}, cluster(minutes=30))
    assert [each.ids for each in packs] == [("a",), ("b",)]


def test_memory_classes_and_second_tries_do_not_share_a_job():
    needed = {"a": Need(4, 1.0), "b": Need(8, 1.0), "c": Need(4, 1.0), "d": Need(8, 1.0, again=True)}
    packs = pack(list(needed), needed, cluster())
    assert sorted(each.ids for each in packs) == [("a", "c"), ("b",), ("d",)]


def test_two_at_once_take_half_the_time():
    packs = pack(["a", "b"], {i: Need(4, 600.0) for i in "ab"}, cluster(minutes=10, at_once=2))
    assert [(each.ids, each.seconds) for each in packs] == [(("a", "b"), 600.0)]


@pytest.mark.parametrize("seconds", [1.0, 60.0, 3600.0, 36000.0])
def test_submitit_takes_no_preemption_for_a_time_out_while_a_job_keeps_to_twice_its_estimate(seconds):
    """The rule of submitit 1.5's SignalHandler.has_timed_out."""
    limit = limit_minutes(seconds, cluster()) * 60
    assert 2 * seconds < min(0.8 * limit, limit - 600)


def test_a_limit_that_is_given_is_taken():
    assert limit_minutes(36000.0, cluster(limit_minutes=5)) == 5


def test_arrays_are_split_by_class_and_size():
    packs = [Pack((str(i),), 4 if i % 3 else 8, 1.0, False) for i in range(10)]
    groups = split(packs, 4)
    assert [len(group) for group in groups] == [4, 2, 4]
    assert all(len({each.memory_gb for each in group}) == 1 for group in groups)
    assert sorted(each.ids for group in groups for each in group) == sorted(each.ids for each in packs)


def test_a_known_model_has_its_known_number_of_weights():
    """MiniLM-L6-H384: 22.7 M, of which the embeddings of positions and the like are not counted here."""
    minilm = yaml.safe_load((CONF / "model/minilm.yaml").read_text())
    assert parameters(minilm) == pytest.approx(22.7e6, rel=0.03)


def test_full_fine_tuning_is_estimated_above_an_adapter():
    model = yaml.safe_load((CONF / "model/roberta_base.yaml").read_text())
    spec = {"model": model, "dataset": {}, "recipe": {"batch_size": 32}}
    full, lora = ({**spec, "method": {"update": {"kind": kind}}} for kind in ("full", "low_rank"))
    assert host_gigabytes(full) > host_gigabytes(lora) + 1.5


def test_the_estimate_of_a_cell_is_the_median_of_its_records(tmp_path):
    from harness.ledger.paths import to_json, write_whole
    from harness.ledger.quantity import Measured
    from harness.ledger.record import record_to_json

    store, plan = Store(tmp_path), sleepy.plan(4)
    for run, seconds in zip(plan.runs[:3], (100.0, 120.0, 900.0), strict=True):
        store.paths(run.id).folder.mkdir()
        sleepy.run(run, store, None, lambda: False)
        record = store.read(run.id)
        device = {"device": {"type": "cpu", "name": "CPU"}}
        timed = replace(record, seconds={"wall": Measured(seconds, "s")}, provenance=device)
        write_whole(store.paths(run.id).record, to_json(record_to_json(timed)))
    assert needs(plan, plan.ids[3:], store, cluster(gpus=0))[plan.ids[3]].seconds == 120.0
    assert needs(plan, plan.ids[3:], store, cluster(gpus=1))[plan.ids[3]].seconds == 60.0  # no time from another device
    marked = replace(timed, notes=("timings not comparable: its threads waited for a CPU",))
    write_whole(store.paths(marked.id).record, to_json(record_to_json(marked)))
    assert needs(plan, plan.ids[3:], store, cluster(gpus=0))[plan.ids[3]].seconds == 110.0
    assert needs(plan, plan.ids[3:], store, cluster(run_minutes=2.5))[plan.ids[3]].seconds == 150.0


def test_runs_that_share_a_job_at_the_same_time_share_its_memory(tmp_path):
    plan = sleepy.plan(1)
    alone, shared = (needs(plan, plan.ids, Store(tmp_path), cluster(at_once=n, run_minutes=1.0)) for n in (1, 3))
    assert (alone[plan.ids[0]].memory_gb, shared[plan.ids[0]].memory_gb) == (4, 8)


def test_runs_that_ran_out_of_memory_do_not_make_a_node_bad_and_a_torn_line_is_passed_over(tmp_path):
    lines = [f'{{"t": 5000, "node": "n1", "how": "SIGKILL", "ids": ["{i}"]}}' for i in "abc"]
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/deaths.jsonl").write_text("\n".join([*lines, '{"t": 5000, "no']) + "\n")
    assert list(bad_nodes(tmp_path, 3, now=6000)) == ["n1"]
    assert bad_nodes(tmp_path, 3, now=6000, excluded_runs={"a"}) == {}


def test_a_node_is_bad_when_different_runs_died_there_lately(tmp_path):
    lines = [
        '{"t": 5000, "node": "n1", "how": "SIGKILL", "ids": ["a"]}'
    ] * 3  # one run that dies is not the node's fault
    lines += [f'{{"t": {t}, "node": "n2", "how": "SIGBUS", "ids": ["{i}"]}}' for t, i in ((5000, "a"), (5000, "b"))]
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/deaths.jsonl").write_text("\n".join(lines) + "\n")
    assert list(bad_nodes(tmp_path, 2, now=6000)) == ["n2"]
    assert bad_nodes(tmp_path, 2, now=6000 + 90_000) == {}


def test_a_source_and_its_targets_are_one_job_in_that_order():
    needed = {"a": Need(4, 60.0), "s": Need(8, 60.0), "b": Need(4, 60.0), "t": Need(4, 60.0), "u": Need(4, 60.0)}
    packs = pack(["a", "s", "b", "t", "u"], needed, cluster(max_pack=2), {"t": "s", "u": "t", "b": "gone"})
    assert sorted(each.ids for each in packs) == [("a", "b"), ("s", "t", "u")]
    assert {each.ids: each.memory_gb for each in packs}["s", "t", "u"] == 8
