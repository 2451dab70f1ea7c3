"""Adapters at every rank below, against merged weights of the truncated product; the run stays as it was."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import harness.probe.shrink as module
from harness.__main__ import main
from harness.cli.export import restored
from harness.config.settings import settings_from
from harness.data.load import Encoder, load_data
from harness.ledger.parse import parse
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store
from harness.planning.plan import read_request
from harness.tasks.build import build
from tests.terminal import on_terminal

WORDS = ("model=vit_micro", "dataset=digits", "recipe=quick_image", "recipe.max_steps=10", "recipe.evaluations=2",
         "tracker=none", "method.update.rank=4", "method.update.alpha=8")  # fmt: skip


@pytest.fixture(scope="module")
def words(tmp_path_factory, peftlab_cache):
    folder = tmp_path_factory.mktemp("shrink")
    with pytest.MonkeyPatch.context() as patch:  # fewer of everything: a test needs no medians
        patch.setattr(module, "SHARES", (0.5, 0.05))
        patch.setattr(module, "REPEATS", 1)
        patch.setattr(module, "DRAWS", 2)
        yield [f"runs={folder}/runs", f"cache={peftlab_cache}"]


OF = {"lora": (), "dylora": (), "squeeze_in": ("method.schedule.ranks=[4,3]",)}


@pytest.fixture(scope="module", params=OF)
def shrunk(request, words):
    """(run id, what the verb wrote beside it, store) of a run of each kind."""
    assert main(["run", *WORDS, f"method={request.param}", *OF[request.param], *words]) == 0
    store = Store(settings_from(read_request(words).config).runs)
    ids = [path.parent.name for path in store.root.glob("*/record.json")]
    (run_id,) = [i for i in ids if store.read(i).spec["method"]["name"] == request.param]
    before = {p: p.read_bytes() for p in store.paths(run_id).folder.rglob("*") if p.is_file()}
    with on_terminal() as said:
        assert main(["shrink", run_id[:10], *words]) == 0
    for what in ("loading model and data", "the score at rank 3, ", "the score with 5% of the parameters, random"):
        assert f"\r\033[Krun {run_id}: {what}"[:79] in said.getvalue()
    assert all(path.read_bytes() == content for path, content in before.items())
    (side,) = (store.paths(run_id).folder / "shrunk").glob("*.json")
    return run_id, json.loads(side.read_text())["answer"], store


def accuracy_at(rank, run_id, store, words):
    """Test accuracy of the plain model whose weights hold the product at that rank, made in float64 by numpy."""
    settings = settings_from(read_request(words).config)
    spec = parse(RunSpec, store.read(run_id).spec, "run")
    loaded, method = restored(run_id, settings)
    deltas = {}
    for path, update in method.updates.items():
        b, a = update.b.detach().double().numpy(), update.a.detach().double().numpy()
        if spec.method.name == "dylora":
            deltas[path] = 8 / rank * b[:, :rank] @ a[:rank]
        else:
            u, s, vt = np.linalg.svd(2 * b @ a, full_matrices=False)
            deltas[path] = (u[:, :rank] * s[:rank]) @ vt[:rank]
        update.b.data.zero_()
    method.merge()
    for path, delta in deltas.items():
        loaded.model.get_submodule(path).weight.data += torch.tensor(delta).float()
    task = build(spec.dataset, loaded)
    test = load_data(spec.dataset, Encoder(task.encode, task.length, loaded.processor_key), settings.cache).test
    batch = task.collate([test[i] for i in range(len(test))], None)
    with torch.no_grad():
        return float((loaded.model(**batch.inputs).logits.argmax(1) == batch.targets).float().mean())


def test_every_rank_scores_as_the_plain_model_with_that_product(shrunk, words):
    run_id, answer, store = shrunk
    squeezed = store.read(run_id).spec["method"]["name"] == "squeeze_in"
    assert [entry["rank"] for entry in answer["served"]] == ([3, 2, 1] if squeezed else [4, 3, 2, 1])
    for entry in answer["served"]:
        assert entry["test"] == pytest.approx(accuracy_at(entry["rank"], run_id, store, words), abs=1.01 / 224)
        assert entry["latency_ms"] > 0
    record = store.read(run_id)
    whole = record.scores["test"]["accuracy"].value
    assert answer["whole"]["test"] == answer["served"][0]["test"] == pytest.approx(whole, abs=1e-9)
    assert answer["whole"]["val"] == pytest.approx(record.scores["val"]["accuracy"].value, abs=1e-9)


def test_of_a_wide_adapter_powers_of_two_are_served_beside_its_own_rank_and_every_low_one(monkeypatch):
    monkeypatch.setattr(module, "EVERY", 5)
    wide, narrow = (SimpleNamespace(a=torch.zeros(rank, 7)) for rank in (48, 3))
    assert module._ranks({"a": narrow, "b": wide}) == [48, 32, 16, 8, 5, 4, 3, 2, 1]
    assert module._ranks({"a": narrow}) == [3, 2, 1]


def test_both_factors_lose_their_share_while_they_are_looked_at_and_come_back_as_they_were():
    update = torch.nn.Module()
    update.b, update.a = (torch.nn.Parameter(torch.rand(*shape) + 0.1) for shape in ((10, 4), (4, 20)))
    before = (update.b, update.a)
    with module._changed({"site": update}, module._dropper(0.5, "magnitude", 0, 0)):
        assert [int(factor.count_nonzero()) for factor in (update.b, update.a)] == [20, 40]
    with module._at_rank({"site": update}, 2):
        assert torch.linalg.matrix_rank(update.b @ update.a) == 2
    assert update.b is before[0] and update.a is before[1] and len([*update.parameters()]) == 2


def test_parameters_are_dropped_in_both_ways_at_every_share(shrunk):
    _, answer, _ = shrunk
    seen = {(entry["how"], entry["kept"], entry["draw"]) for entry in answer["dropped"]}
    random = {("random", kept, draw) for kept in (0.5, 0.05) for draw in range(2)}
    assert seen == random | {("magnitude", kept, 0) for kept in (0.5, 0.05)}


def test_what_has_no_such_ranks_is_refused_in_one_sentence(words, capsys):
    assert main(["run", *WORDS[:-2], "method=head", *words]) == 0
    store = Store(settings_from(read_request(words).config).runs)
    assert main(["run", *WORDS, "method=cola", *words]) == 0
    ids = [path.parent.name for path in store.root.glob("*/record.json")]
    (cola,) = [i for i in ids if store.read(i).spec["method"]["name"] == "cola"]
    (head,) = [i for i in ids if store.read(i).spec["method"]["name"] == "head"]
    capsys.readouterr()
    for asked, sentence in (
        ([head], "only LoRA-like updates"),
        ([cola], "its finished links are in the weights"),
        ([], "required: run"),
        (["zz"], "no run begins so"),
    ):
        assert main(["shrink", *asked, *words]) != 0
        said = capsys.readouterr().err
        assert sentence in said and "Traceback" not in said
