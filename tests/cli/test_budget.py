"""`peftlab budget` on two real tasks: real parameters, real spectra, a merged adapter and its scores."""

import json

import peft
import pytest
import torch
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file

from harness.__main__ import main
from harness.ledger.parse import parse
from harness.ledger.seeds import Seeds
from harness.ledger.side_record import read_all
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store
from harness.models.load import load_model
from tests.fruit import write_fruit

WORDS = ("model=minilm", "model.size=tiny", "dataset=fruit", "recipe=quick_text", "recipe.batch_size=8",
         "recipe.max_steps=6", "recipe.evaluations=1", "recipe.lr=1e-2", "tracker=none", "device=cpu",
         "method.targets=[q,down]")  # fmt: skip
KINDS = ("own", "merged", "squeezed")
COSTS = {"q": 64 + 64, "down": 128 + 64}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, peftlab_cache):
    """Two runs of one base model (the second with poisoned test labels); one each of another method, of another seed,
    and beside the first; and the second one with clean labels."""
    place, order = tmp_path_factory.mktemp("budget"), []
    lora, narrow = ("method=lora",), ("method=lora", "method.update.rank=4")
    beside = ("method=lora_orthogonal", "source.method=lora", "source.method.targets=[q,down]")
    asked = [
        ((), lora),
        (("test",), narrow),
        ((), ("method=sora",)),
        ((), (*lora, "seed=1")),
        ((), beside),
        ((), narrow),
    ]
    store = Store(place / "runs")
    with pytest.MonkeyPatch.context() as patch:
        for wrong, words in asked:
            patch.setenv("PEFTLAB_CONF", str(write_fruit(place, wrong)))
            assert main(["run", *WORDS, *words, f"runs={store.root}", f"cache={peftlab_cache}"]) == 0
            order += set(ids(store)) - set(order)
    return store, *order


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


def test_the_labels_of_test_change_no_rank_and_no_factor(trained, ask):
    """Of the second task with clean and with poisoned test labels: all but what is measured on test is equal."""
    _, first, poisoned, *_, clean = trained
    answers = []
    for second in (poisoned, clean):
        answer = ask(f"tasks={first},{second}", "weights=1,3", "--parameters", "3000", "--merge")
        answers.append(json.loads(json.dumps(answer).replace(second, "second")))
    tests = [answer["merged"]["scores"]["second"][name].pop("test") for answer in answers for name in KINDS]
    assert answers[0] == answers[1] and all(a != b for a, b in zip(tests[:3], tests[3:], strict=True))


def test_the_merged_adapter_is_a_folder_that_peft_loads_and_the_closest_product(trained, ask, tmp_path, peftlab_cache):
    store, first, second, *_ = trained
    words = (f"tasks={first},{second}", "weights=3,1", "--parameters", "2000", "--merge", "--to", str(tmp_path / "new"))
    ranks = ask(*words)["merged"]["ranks"]
    spec = parse(RunSpec, store.read(first).spec, "run")
    model = load_model(spec.model, spec.dataset.task, Seeds(0), peftlab_cache).model
    adapted = peft.PeftModel.from_pretrained(model, str(tmp_path / "new"))
    found = {}
    for name, module in adapted.named_modules():
        if isinstance(module, LoraLayer):
            path = name.removeprefix("base_model.model.")
            key = f"layers.{path.split('.layer.')[1].split('.')[0]}.{'q' if path.endswith('query') else 'down'}"
            mean = sum(share * delta(store, run, path) for run, share in ((first, 0.75), (second, 0.25)))
            u, s, vt = torch.linalg.svd(mean, full_matrices=False)
            closest = (u[:, : ranks[key]] * s[: ranks[key]]) @ vt[: ranks[key]]
            torch.testing.assert_close(module.get_delta_weight("default").double(), closest, rtol=1e-4, atol=1e-6)
            found[key] = module.r["default"]
    assert found == ranks
    assert not any("classifier" in name for name in load_file(tmp_path / "new" / "adapter_model.safetensors"))


def delta(store, run, path):
    """ΔW of one weight from the saved factors, in float64."""
    update = store.read(run).spec["method"]["update"]
    tensors = load_file(store.paths(run).adapter / "state.safetensors")
    b, a = (tensors[f"adapter.{path}.{name}"].double() for name in "ba")
    return update["alpha"] / update["rank"] * b @ a


def test_one_task_merged_within_a_budget_for_all_of_it_is_itself(trained, ask):
    _, first, *_ = trained
    rows = ask(f"tasks={first}", "--parameters", "1000000", "--merge")["merged"]["scores"][first]
    for name in ("merged", "squeezed"):
        assert rows[name]["test"]["loss"] == pytest.approx(rows["own"]["test"]["loss"], rel=1e-4)


def test_the_adapter_of_a_second_task_beside_the_first_is_merged_with_it(trained, ask):
    store, first, _, _, _, second, _ = trained
    source = store.read(second).spec["source"]
    assert source["method"]["name"] == "lora" and source["dataset"] == store.read(first).spec["dataset"]
    before, after = (load_file(store.paths(run).adapter / "state.safetensors") for run in (first, second))
    assert all(torch.equal(after[name[:-1] + "others"], before[name]) for name in before if name.endswith(".a"))
    merged = ask(f"tasks={first},{second}", "--parameters", "1000000", "--merge")["merged"]
    assert set(merged["scores"]) == {first, second} and merged["captured"] == pytest.approx(1)


def test_what_cannot_be_shared_out_is_one_sentence(trained, ask, tmp_path):
    (tmp_path / "kept").touch()
    _, first, second, sora, seed, *_ = trained
    for words, sentence in (
        ((f"tasks={first}", "--parameters", "10"), "--parameters 10: rank 1 of all 4 weights takes 640"),
        ((f"tasks={first}",), "budget takes runs and a number"),
        ((f"tasks={sora}", "--parameters", "4000"), "is no plain low_rank update"),
        ((f"tasks={first},{first}", "--parameters", "4000"), "a run is there twice"),
        ((f"tasks={first},{seed}", "--parameters", "4000"), "not of the same weights of the same base model"),
        ((f"tasks={first},{second}", "weights=1", "--parameters", "4000"), "one number above 0 for each of 2"),
        ((f"tasks={first}", "--parameters", "4000", "--to", str(tmp_path / "new")), "it needs --merge"),
        ((f"tasks={first}", "--parameters", "4000", "--merge", "--to", str(tmp_path)), "is there already"),
        (("tasks=zzzz", "--parameters", "4000"), "no run begins so"),
    ):
        assert sentence in ask(*words, code=2)
