"""`peftlab search` on real runs: the study is rebuilt from plans and records, and test labels play no part."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

import harness.training.run as training
from harness.__main__ import main
from harness.execution.queue import work
from harness.ledger.lookup import plans
from harness.ledger.store import Store
from harness.planning.search.search_spec import read_search
from harness.planning.search.study import planned_trials, trial_of, write_study
from tests.fruit import write_fruit

WORDS = ("method=lora", "model=minilm", "model.size=tiny", "dataset=fruit", "recipe=quick_text", "recipe.batch_size=8",
         "recipe.max_steps=2", "recipe.evaluations=1", "tracker=none", "device=cpu", "keep=none",
         "method.targets=[q,down]", "search.ranks=[1,2,4]", "search.parameters=1500")  # fmt: skip


@pytest.fixture
def search(tmp_path, peftlab_cache, monkeypatch, capsys):
    """Runs a search and returns its answer; `wrong`: splits of poisoned labels."""

    def answer(*words, runs="runs", wrong=(), code=0):
        monkeypatch.setenv("PEFTLAB_CONF", str(write_fruit(tmp_path, wrong)))
        where = (f"runs={tmp_path / runs}", f"cache={peftlab_cache}")
        assert main(["search", *WORDS, *words, *where, "--json"]) == code, capsys.readouterr()
        return json.loads(capsys.readouterr().out)

    return answer


def asked(answer):
    return [(trial["ranks"], trial["steps"], trial["score"]) for trial in answer["trials"]]


def test_a_search_goes_on_where_it_was_and_its_trials_are_runs_of_the_store(search, tmp_path):
    first = search("search.trials=1")
    again = search("search.trials=3")
    assert asked(again)[:1] == asked(first) and len(again["trials"]) == 3 and again["study"] == first["study"]
    assert asked(search("search.trials=3", runs="other")) == asked(again), "in one go it is the same search"
    store = Store(tmp_path / "runs")
    for trial in again["trials"]:
        record = store.read(trial["id"])
        assert record.spec["method"]["ranks"] == trial["ranks"]
        count = sum((64 + 64 if key == "q" else 128 + 64) * 2 * rank for key, rank in trial["ranks"].items())
        assert record.parameters["adapter"].value == count <= 1500, "Σ r·(in + out) is what was really trained"
    (plan,) = [plan for plan in plans(store.root) if plan.name == again["study"]]
    assert plan.ids == tuple(trial["id"] for trial in again["trials"])
    spent = sum(store.read(run).seconds["train"].value for run in plan.ids)
    assert plan.about["search"]["train_seconds"] == again["train_seconds"] == pytest.approx(spent)
    assert plan.about["search"]["best"] == again["best"]["id"]


def test_the_labels_of_test_change_nothing_in_a_search(search):
    words = ("search.trials=7", "recipe.lr=1e-2")
    clean, poisoned = search(*words), search(*words, runs="poisoned", wrong=("test",))
    assert asked(clean) == asked(poisoned) and clean["best"]["ranks"] == poisoned["best"]["ranks"]
    assert {t["id"] for t in clean["trials"]}.isdisjoint(t["id"] for t in poisoned["trials"]), "other data, other runs"


def test_rungs_are_runs_of_their_own_and_all_are_counted(search):
    answer = search("search.trials=4", "search.rungs=[1,2]", "search.keep=2", "search.strategy=evolution")
    assert [trial["steps"] for trial in answer["trials"]] == [1, 1, 2, 1]
    assert answer["train_seconds"] == pytest.approx(sum(trial["train_seconds"] for trial in answer["trials"]))
    assert answer["best"]["steps"] == 2


def test_layers_are_searched_one_by_one(search):
    answer = search("search.trials=1", "search.per=layer", "search.strategy=reinforce")
    assert set(answer["trials"][0]["ranks"]) == {"layers.0.q", "layers.1.q", "layers.0.down", "layers.1.down"}


def test_trials_that_fail_stay_in_the_study_and_a_search_of_failures_alone_is_exit_code_1(search):
    answer = search("search.trials=2", "recipe.lr=1e30", "recipe.head_lr=1e30", code=1)
    assert [trial["state"] for trial in answer["trials"]] == ["failed"] * 2 and answer["best"] is None


def test_two_processes_that_add_a_trial_at_once_lose_none_and_an_open_one_is_done_first(search, tmp_path):
    answer = search("search.trials=1")
    store, name, spec = Store(tmp_path / "runs"), answer["study"], read_search({})
    (done,) = planned_trials(store, name)
    other = replace(done, id="0" * 16)
    another = replace(done, id="f" * 16)
    write_study(store, name, spec, [done, other])
    write_study(store, name, spec, [done, another])
    assert {run.id for run in planned_trials(store, name)} == {done.id, other.id, another.id}
    assert planned_trials(store, name)[0] == done and trial_of(other, store).state == "open"
    (store.root / "plans" / name / "0123456789abcdef.json").write_text("cut o")
    assert len(planned_trials(store, name)) == 3


def test_two_live_searches_on_one_store_share_the_trials_and_do_none_twice(search, monkeypatch):
    """The second one begins, and ends, while the first trial of the first one is under way."""
    real, begun, second = training.run_one, [], {}

    def noted(planned, leased, settings, **of):
        begun.append(planned.id)
        if len(begun) == 1:
            second.update(search("search.trials=3"))
        return real(planned, leased, settings, **of)

    monkeypatch.setattr(training, "run_one", noted)
    first = search("search.trials=3")
    assert [trial["state"] for trial in second["trials"]] == ["open", "done", "done"], "that one is the other's"
    assert begun == [trial["id"] for trial in first["trials"]] and len(set(begun)) == 3
    assert [trial["state"] for trial in first["trials"]] == ["done"] * 3
    assert first["study"] == second["study"]


def test_trials_at_once_are_one_launch_of_the_clusters_launcher_and_the_same_study(search, tmp_path, monkeypatch):
    """The launcher is one that does its runs here, as the local one does them in processes of its own."""
    launches = []

    def launch(plan, store, settings, cluster):
        todo = [run.id for run in plan.runs if not store.state(run.id).settled]
        launches.append(len(todo))
        work(todo, plan, store, lambda run, leased: training.run_one(run, leased, settings), stop=lambda: False)

    monkeypatch.setattr("harness.cli.search.launcher_of", lambda cluster: SimpleNamespace(waits=True, launch=launch))
    answer = search("search.trials=3", "search.at_once=2")
    assert launches == [2, 1] and [trial["state"] for trial in answer["trials"]] == ["done"] * 3
    alone = search("search.trials=3", runs="alone")
    assert alone["study"] == answer["study"], "how many at once is no part of what is searched"
    assert asked(alone) == asked(answer), "the first five trials of TPE know of no scores"


def test_the_larger_score_is_the_better_whatever_the_metric(search, tmp_path):
    answer = search("search.trials=1")
    store = Store(tmp_path / "runs")
    (run,) = planned_trials(store, answer["study"])
    falling = {**run.spec, "dataset": {**run.spec["dataset"], "direction": "min"}}
    assert trial_of(replace(run, spec=falling), store).score == -trial_of(run, store).score


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("method=sora",), "a search sets method.ranks of a plain low_rank update"),
        (("search.parameters=10",), "search.parameters=10: rank 1 everywhere takes 640"),
        (("search.trials=1,2",), "search.trials=1,2: one search has one value"),
        (("search.at_once=0",), "search.at_once"),
        (("search.ranks=[1,",), "search.ranks: cannot read the value"),
    ],
)
def test_a_search_that_cannot_be_is_one_sentence(tmp_path, peftlab_cache, monkeypatch, capsys, words, sentence):
    monkeypatch.setenv("PEFTLAB_CONF", str(write_fruit(tmp_path)))
    kept = [word for word in WORDS if word.partition("=")[0] not in {given.partition("=")[0] for given in words}]
    assert main(["search", *kept, *words, f"runs={tmp_path}/runs", f"cache={peftlab_cache}"]) == 2
    assert sentence in capsys.readouterr().err
