"""`peftlab budget` on two real tasks: real parameters, real spectra, a merged adapter and its scores."""

import json

import pytest
import torch
from safetensors.torch import load_file

from harness.__main__ import main
from harness.ledger.side_record import read_all
from harness.ledger.store import Store
from tests.fruit import write_fruit

WORDS = ("model=minilm", "model.size=tiny", "dataset=fruit", "recipe=quick_text", "recipe.batch_size=8",
         "recipe.max_steps=6", "recipe.evaluations=1", "recipe.lr=1e-2", "tracker=none", "device=cpu",
         "method.targets=[q,down]")  # fmt: skip
COSTS = {"q": 64 + 64, "down": 128 + 64}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, peftlab_cache):
    """Two runs of one base model (the second with poisoned test labels); one each of another method, of another seed,
    and beside the first."""
    place, beside = tmp_path_factory.mktemp("budget"), ("source.method=lora", "source.method.targets=[q,down]")
    with pytest.MonkeyPatch.context() as patch:
        for wrong, words in (((), ("method=lora",)), (("test",), ("method=lora", "method.update.rank=4")),
                             ((), ("method=sora",)), ((), ("method=lora", "seed=1")),
                             ((), ("method=lora_orthogonal", *beside))):  # fmt: skip
            patch.setenv("PEFTLAB_CONF", str(write_fruit(place, wrong)))
            assert main(["run", *WORDS, *words, f"runs={place}/runs", f"cache={peftlab_cache}"]) == 0
    store = Store(place / "runs")
    records = {run: store.read(run) for run in ids(store)}
    by = {(r.spec["method"]["name"], r.spec["method"]["update"]["rank"], r.spec["seed"]): i for i, r in records.items()}
    return store, by["lora", 16, 0], by["lora", 4, 0], by["sora", 16, 0], by["lora", 16, 1]


def ids(store):
    return [path.parent.name for path in store.root.glob("*/record.json")]


@pytest.fixture
def ask(trained, peftlab_cache, capsys):
    def answer(*words, code=0):
        assert main(["budget", *words, "--json", f"runs={trained[0].root}", f"cache={peftlab_cache}"]) == code
        out = capsys.readouterr()
        return json.loads(out.out) if code == 0 else out.err

    return answer


def spectra(store, run):
    """By key of `method.ranks`, from the saved factors alone, densely."""
    tensors = load_file(store.paths(run).adapter / "state.safetensors")
    values = {}
    for name in tensors:
        if name.endswith(".a"):
            a, b = tensors[name].double(), tensors[name[:-1] + "b"].double()
            layer = name.split(".layer.")[1].split(".")[0]
            key = f"layers.{layer}.{'q' if 'query' in name else 'down'}"
            values[key] = torch.linalg.svdvals(2.0 * b @ a)[: a.shape[0]]
    return values


def test_a_budget_over_layers_holds_and_says_what_each_way_captures(trained, ask):
    store, run, *_ = trained
    answer = ask(f"tasks={run}", "--parameters", "4000")
    assert list(answer["shared"]) == ["uniform", "greedy", "exact"]
    squares = {key: values.square() for key, values in spectra(store, run).items()}
    total = sum(values.sum() for values in squares.values())
    for row in answer["shared"].values():
        ranks = row["ranks"][run]
        assert row["parameters"] == sum(rank * COSTS[key.split(".")[-1]] for key, rank in ranks.items()) <= 4000
        kept = sum(squares[key][:rank].sum() for key, rank in ranks.items()) / total
        assert row["captured"] == pytest.approx(kept.item(), rel=1e-5), "squares of σ, not σ"
    even, fast, best = (row["captured"] for row in answer["shared"].values())
    assert even < fast <= best <= 1


def test_a_task_that_weighs_more_gets_more_and_the_budget_is_of_both(trained, ask):
    _, first, second, *_ = trained
    taken = {}
    for weights in ("1,1", "10,1", "1,10"):
        answer = ask(f"tasks={first},{second}", f"weights={weights}", "--parameters", "5000")
        row = answer["shared"]["exact"]
        by_run = {r: sum(k * COSTS[key.split(".")[-1]] for key, k in of.items()) for r, of in row["ranks"].items()}
        assert row["parameters"] == sum(by_run.values()) <= 5000
        taken[weights] = by_run
    assert taken["10,1"][first] > taken["1,1"][first] > taken["1,10"][first]


def test_the_merged_adapter_is_squeezed_to_the_budget_and_scored_on_every_task(trained, ask):
    """One of the two tasks has poisoned test labels: its test score is lower, and nothing that is chosen differs."""
    store, first, second, *_ = trained
    answer = ask(f"tasks={first},{second}", "--parameters", "2000", "--merge")
    merged = answer["merged"]
    assert merged["parameters"] == sum(r * COSTS[key.split(".")[-1]] for key, r in merged["ranks"].items()) <= 2000
    assert 0 < merged["captured"] <= 1 and set(merged["scores"]) == {first, second}
    for run, rows in merged["scores"].items():
        record = store.read(run)
        assert set(rows) == {"own", "merged", "squeezed"}
        for split in ("val", "test"):
            assert rows["own"][split]["loss"] == pytest.approx(record.scores[split]["loss"].value, rel=1e-5)
            assert rows["own"][split]["loss"] != rows["merged"][split]["loss"] != rows["squeezed"][split]["loss"]
    (side,) = [s for s in read_all(store.paths(first), "budget", 1) if s.question["merge"]]
    assert side.answer["merged"] == merged


def test_one_task_merged_within_a_budget_for_all_of_it_is_itself(trained, ask):
    _, first, *_ = trained
    rows = ask(f"tasks={first}", "--parameters", "1000000", "--merge")["merged"]["scores"][first]
    for name in ("merged", "squeezed"):
        assert rows[name]["test"]["loss"] == pytest.approx(rows["own"]["test"]["loss"], rel=1e-4)


def test_the_adapter_of_a_second_task_beside_the_first_is_merged_with_it(trained, ask):
    store, first, *_ = trained
    (second,) = [i for i in ids(store) if store.read(i).spec["method"]["name"] == "lora_orthogonal"]
    source = store.read(second).spec["source"]
    assert source["method"]["name"] == "lora" and source["dataset"] == store.read(first).spec["dataset"]
    before, after = (load_file(store.paths(run).adapter / "state.safetensors") for run in (first, second))
    assert all(torch.equal(after[name[:-1] + "others"], before[name]) for name in before if name.endswith(".a"))
    merged = ask(f"tasks={first},{second}", "--parameters", "1000000", "--merge")["merged"]
    assert set(merged["scores"]) == {first, second} and merged["captured"] == pytest.approx(1)


def test_what_cannot_be_shared_out_is_one_sentence(trained, ask):
    _, first, second, sora, seed = trained
    for words, sentence in (
        ((f"tasks={first}", "--parameters", "10"), "--parameters 10: rank 1 of all 4 weights takes 640"),
        ((f"tasks={first}",), "budget takes runs and a number"),
        ((f"tasks={sora}", "--parameters", "4000"), "is no plain low_rank update"),
        ((f"tasks={first},{first}", "--parameters", "4000"), "a run is there twice"),
        ((f"tasks={first},{seed}", "--parameters", "4000"), "not of the same weights of the same base model"),
        ((f"tasks={first},{second}", "weights=1", "--parameters", "4000"), "one number above 0 for each of 2"),
        (("tasks=zzzz", "--parameters", "4000"), "no run begins so"),
    ):
        assert sentence in ask(*words, code=2)
