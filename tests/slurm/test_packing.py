"""Sizing: what a run needs, how runs are packed, which limit a job gets, how arrays are split. Pure functions."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from harness.__main__ import main
from harness.config.resolve import Resolver
from harness.execution.local_cluster import LocalCluster
from harness.ledger.parse import parse
from harness.ledger.store import Store
from harness.planning.estimate import estimates
from harness.planning.plan import plan_sweep, read_request
from slurm.arrays import split
from slurm.cluster_spec import SlurmCluster
from slurm.nodes import bad_nodes
from slurm.packing import Pack, limit_minutes, pack
from slurm.resources import Need, machine_of, needs
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


def planned(*words):
    return plan_sweep(read_request(words), Resolver())


def test_the_host_memory_of_a_run_on_a_cpu_holds_its_weights_twice_and_its_whole_step(tmp_path, peftlab_cache):
    """RoBERTa-base in float32: 124.6 M parameters (Hugging Face's count with its classifier), AdamW's two moments."""
    plan = planned("method=full,lora", "model=roberta_base", "dataset=cola", "recipe=study_roberta")
    full, lora = estimates(plan, Store(tmp_path), peftlab_cache, machine_of(cluster(gpus=0)))
    assert full.ledger["weights"] == pytest.approx(4 * 124.6e6, rel=0.01)
    step = full.bytes + full.ledger["weights"] + full.ledger["saved_for_backward"]
    assert full.host_bytes == pytest.approx(1.5e9 + step)
    assert full.host_bytes > lora.host_bytes + 1.2e9  # gradients and two moments of every weight
    on_gpu = estimates(plan, Store(tmp_path), peftlab_cache, machine_of(cluster(gpus=1)))[0]
    assert on_gpu.host_bytes == 1.5e9 + 2 * on_gpu.ledger["weights"]


@pytest.mark.parametrize("card", [{}, {"cpus": 8, "at_once": 4}, {"gpus": 1}, {"run_minutes": 2.5}], ids=str)
def test_what_plan_shows_for_a_cluster_is_what_its_jobs_are_made_of(tmp_path, peftlab_cache, capsys, card):
    words = ["method=lora,full", "model=roberta_base", "dataset=cola,mrpc", "recipe=study_roberta", "seed=0,1"]
    changes = [f"cluster.{key}={value}" for key, value in card.items()]
    paths = [f"runs={tmp_path}", f"cache={peftlab_cache}"]
    assert main(["plan", *words, "cluster=slurm", *changes, *paths, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["estimates"]
    plan, slurm = planned(*words), cluster(**card)
    sized = needs(plan, plan.ids, Store(tmp_path), slurm, peftlab_cache)
    assert len(shown) == 4 and len(sized) == 8
    for run in plan.runs:
        (cell,) = [each for each in shown if each["choices"].items() <= run.choices.items()]
        assert sized[run.id].seconds == cell["wall_seconds"] > 0
        gigabytes = cell["host_bytes"] * slurm.at_once / 1e9
        assert sized[run.id].memory_gb == next(size for size in slurm.memory_gb if size >= gigabytes)


def test_a_time_that_nothing_is_known_of_is_assumed_and_says_so(tmp_path, peftlab_cache):
    plan = planned("method=lora", "model=roberta_base", "dataset=cola")
    (estimate,) = estimates(plan, Store(tmp_path), peftlab_cache, machine_of(cluster(cpus=4)))
    assert estimate.seconds_from == "FLOPs at 120 GFLOP/s: no record yet, assumed of a CPU of 4 cores"
    (anywhere,) = estimates(plan, Store(tmp_path), peftlab_cache)
    assert anywhere.seconds is None


def test_the_plan_of_a_cluster_shows_what_sizes_its_jobs(tmp_path, peftlab_cache, capsys):
    words = ["method=lora", "model=roberta_base", "dataset=cola", f"runs={tmp_path}", f"cache={peftlab_cache}"]
    assert main(["plan", *words, "cluster=slurm"]) == 0
    shown = capsys.readouterr().out
    assert "host memory" in shown and "whole run" in shown and "GPU" not in shown
    assert main(["plan", *words]) == 0
    assert "host memory" not in capsys.readouterr().out


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
        times = {"wall": Measured(seconds, "s"), "train": Measured(seconds - 10, "s")}
        timed = replace(record, seconds=times, provenance=device)
        write_whole(store.paths(run.id).record, to_json(record_to_json(timed)))

    def seconds_on(card):
        return needs(plan, plan.ids[3:], store, card, tmp_path / "cache")[plan.ids[3]].seconds

    assert seconds_on(cluster(gpus=0)) == 120.0
    assert seconds_on(cluster(gpus=1)) == 60.0  # no time from another device
    marked = replace(timed, notes=("timings not comparable: its threads waited for a CPU",))
    write_whole(store.paths(marked.id).record, to_json(record_to_json(marked)))
    assert seconds_on(cluster(gpus=0)) == 110.0
    assert seconds_on(cluster(run_minutes=2.5)) == 150.0


def test_runs_that_share_a_job_at_the_same_time_share_its_memory(tmp_path):
    plan = sleepy.plan(1)
    cards = [cluster(at_once=n, run_minutes=1.0) for n in (1, 3)]
    alone, shared = (needs(plan, plan.ids, Store(tmp_path), card, tmp_path / "cache") for card in cards)
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
