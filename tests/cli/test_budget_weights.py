"""`peftlab budget weights=validation`: tasks weigh what their adapters add there, by measurement and not by name."""

import json

import pytest
from safetensors.torch import load_file

from harness.__main__ import main
from harness.ledger.parse import parse
from harness.ledger.seeds import Seeds
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store
from harness.models.load import load_model
from harness.training.adapters import scores_of
from tests.fruit import write_fruit

WORDS = ("method=lora", "model=minilm", "model.size=tiny", "dataset=fruit", "recipe=quick_text", "recipe.batch_size=8",
         "recipe.epochs=9", "recipe.evaluations=1", "recipe.lr=1e-2", "tracker=none", "device=cpu",
         "method.targets=[q,v,up,down]")  # fmt: skip
LONG, SHORT, NARROW = "recipe.max_steps=54", "recipe.max_steps=2", ("method.update.rank=8", "method.update.alpha=16")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, peftlab_cache):
    """(store, ids): a learned task, the same at rank 8, that with poisoned test labels, and not learned: two."""
    place, order = tmp_path_factory.mktemp("weights"), []
    store = Store(place / "runs")
    with pytest.MonkeyPatch.context() as patch:
        for wrong, words in (
            ((), (LONG,)),
            ((), (LONG, *NARROW)),
            (("test",), (LONG, *NARROW)),
            ((), (SHORT,)),
            ((), (SHORT, "dataset.metrics=[accuracy,f1_macro]", "dataset.metric=f1_macro")),
        ):
            patch.setenv("PEFTLAB_CONF", str(write_fruit(place, wrong)))
            assert main(["run", *WORDS, *words, f"runs={store.root}", f"cache={peftlab_cache}"]) == 0
            order += {path.parent.name for path in store.root.glob("*/record.json")} - set(order)
    return store, order


@pytest.fixture
def ask(trained, peftlab_cache, capsys):
    def answer(*tasks, weights="validation", code=0):
        words = (f"tasks={','.join(tasks)}", f"weights={weights}", "--parameters", "3000", "--json")
        assert main(["budget", *words, f"runs={trained[0].root}", f"cache={peftlab_cache}"]) == code
        out = capsys.readouterr()
        return json.loads(out.out) if code == 0 else out.err

    return answer


def test_a_task_weighs_what_its_adapter_adds_to_a_plain_model_with_its_head(trained, ask, peftlab_cache):
    store, (first, second, *_) = trained
    answer = ask(first, second)
    for run, weight in answer["tasks"].items():
        own = store.read(run).scores["val"]["accuracy"].value
        assert weight == pytest.approx(own - accuracy_without(store, run, peftlab_cache), abs=1e-9) and weight > 0
    assert ask(first, second, weights=",".join(map(str, answer["tasks"].values()))) == answer, "as if they were typed"


def accuracy_without(store, run, cache):
    """Of validation, by the pretrained model with the run's head."""
    spec = parse(RunSpec, store.read(run).spec, "run")
    loaded = load_model(spec.model, spec.dataset.task, Seeds(spec.seed), cache)
    tensors = load_file(store.paths(run).adapter / "state.safetensors")
    head = {name.removeprefix("head."): tensor for name, tensor in tensors.items() if name.startswith("head.")}
    assert head and not loaded.model.load_state_dict(head, strict=False).unexpected_keys
    return scores_of(loaded, spec, cache)["val"]["accuracy"].value


def test_the_labels_of_test_change_no_weight_and_no_rank(trained, ask):
    _, (first, clean, poisoned, *_) = trained
    answers = [json.loads(json.dumps(ask(first, second)).replace(second, "second")) for second in (clean, poisoned)]
    assert answers[0] == answers[1]


def test_an_adapter_that_adds_nothing_or_on_another_scale_has_no_weight(trained, ask):
    _, (first, _, _, idle, other) = trained
    said = ask(first, idle, code=2)
    assert f"run {idle}: its adapter adds nothing on validation (" in said and "weights=N,N" in said
    assert "as in weights=2,1, or weights=validation." in ask(first, weights="1,2", code=2)
    said = ask(first, other, code=2)
    assert "weights=validation: accuracy and f1_macro are not on one scale; give a number for each task." in said
