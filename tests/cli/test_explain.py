"""`peftlab explain` and `diff`: by a run's id, a prefix of it, or the words that name it."""

import json

import pytest

from harness.__main__ import main
from harness.execution.lease import claim
from harness.ledger.plan import Plan, Planned, write_plan
from harness.ledger.store import Store
from slurm.sandbox import sleepy

DIGITS = ["model=vit_micro", "dataset=digits"]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


@pytest.fixture
def explain(store, capsys):
    def ask(*words):
        assert main(["explain", *words, f"runs={store.root}", "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return ask


def planned(store, *ids, **recipe):
    """A plan of sleepy runs with these ids, written down."""
    runs = tuple(
        Planned(run_id, run.choices, run.spec)
        for run_id, run in zip(ids, sleepy.plan(len(ids), **recipe).runs, strict=True)
    )
    plan = Plan("sleepy", runs, (), {})
    write_plan(store.root, plan)
    return plan


def do(store, run):
    store.paths(run.id).folder.mkdir(parents=True, exist_ok=True)
    sleepy.run(run, store, None, lambda: False)


IDS = ("a" * 16, "ab" * 8, "c" * 16)


def test_a_run_in_each_state_is_explained_by_a_prefix_of_its_id(store, explain):
    plan = planned(store, *IDS)
    assert explain("c")["status"] == "missing" and "never begun" in explain("c")["why"]
    do(store, plan.runs[0])
    found = explain("aa")
    assert (found["id"], found["status"]) == (IDS[0], "done") and "not be done again" in found["why"]
    lease = claim(store.paths(IDS[1]).folder)
    assert explain("abab")["status"] == "running" and "process" in explain("abab")["why"]
    lease.release()
    assert explain("abab")["status"] == "stopped" and "goes on with it" in explain("abab")["why"]


def test_a_failed_run_is_explained_with_the_way_out(store, explain):
    plan = planned(store, *IDS, fail="diverged")
    do(store, plan.runs[2])
    found = explain("cc")
    assert found["status"] == "failed" and "asked to fail" in found["why"] and f"peftlab retry {IDS[2]}" in found["why"]


def test_the_words_of_a_run_still_explain_it(explain):
    found = explain("method=lora", "seed=3", *DIGITS)
    assert found["status"] == "missing" and found["choices"]["method"] == "lora" and len(found["id"]) == 16


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["explain", "f"], "no run begins so"),
        (["explain", "a"], "2 runs begin so"),
        (["explain", "a", "c"], "'c' is a word too many"),
        (["diff", "c"], "required: other"),
    ],
)
def test_what_is_no_run_is_one_sentence(store, capsys, words, says):
    planned(store, *IDS)
    assert main([*words, f"runs={store.root}"]) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1


def test_two_planned_runs_differ_in_their_settings_before_either_has_begun(store, capsys):
    planned(store, *IDS)
    assert main(["diff", "aa", "ab", f"runs={store.root}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"seed": [0, 1]}


def test_retry_and_status_take_a_bare_sweep_name(store, capsys):
    plan = planned(store, *IDS, fail="diverged")
    do(store, plan.runs[0])
    assert main(["retry", "sleepy", f"runs={store.root}", "--failed", "diverged", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["retried"] == [IDS[0]]
    assert main(["status", "sleepy", "--runs", str(store.root)]) == 0
    assert "2 missing" in capsys.readouterr().out
