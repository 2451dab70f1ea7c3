"""Recommended ranks of a real model and real data, against dense float64 computations; only train is read."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.func import functional_call

import harness.probe.rank_advice as module
from harness.__main__ import main
from harness.config.resolve import Resolver
from harness.data.load import Data, Encoder, load_data
from harness.ledger.parse import parse
from harness.ledger.seeds import Seeds
from harness.ledger.spec import RunSpec
from harness.models.load import load_model
from harness.planning.plan import plan_one, read_request
from harness.probe.rank_advice import Question, advise
from harness.tasks.build import build
from harness.training.loader import DataLoader

WORDS = ("model=vit_micro", "dataset=digits", "recipe=quick_image")
CPU = torch.device("cpu")


def rank_by_hand(values, share, power):
    return int(np.argmax((values**power).cumsum() >= share * (values**power).sum() * (1 - 1e-12))) + 1


@pytest.fixture(scope="module")
def spec():
    return parse(RunSpec, plan_one(read_request(list(WORDS)), Resolver()).spec, "run")


@pytest.fixture(scope="module")
def advice(spec, peftlab_cache):
    return {site.path: site for site in advise(spec, Question(steps=2), peftlab_cache, CPU, data=True)}


@pytest.fixture(scope="module")
def dense(spec, peftlab_cache):
    """Model, task and training data, loaded as a run loads them."""
    seeds = Seeds(spec.seed)
    torch.manual_seed(seeds.of("init", "model"))
    loaded = load_model(spec.model, spec.dataset.task, seeds, peftlab_cache)
    task = build(spec.dataset, loaded)
    encoder = Encoder(task.encode, task.length, loaded.processor_key)
    return loaded.model.eval().double(), task, load_data(spec.dataset, encoder, peftlab_cache).train


def test_every_weight_that_the_card_names_has_advice_and_its_own_shape(advice):
    assert len(advice) == 24 and {site.target for site in advice.values()} == {"q", "k", "v", "o", "up", "down"}
    up = advice["vit.layers.1.mlp.fc1"]
    assert (up.layer, up.target, up.out_features, up.in_features) == (1, "up", 128, 64)


def test_ranks_of_pretrained_weights_are_those_of_numpy(advice, dense):
    for path, site in advice.items():
        values = np.linalg.svd(dense[0].get_submodule(path).weight.detach().numpy(), compute_uv=False)
        assert site.ranks["pretrained_s"] == rank_by_hand(values, 0.9, 1)
        assert site.ranks["pretrained_s2"] == rank_by_hand(values, 0.9, 2) <= site.ranks["pretrained_s"]


def test_the_first_gradient_is_that_of_one_batch_of_all_rows_in_float64(advice, dense, spec):
    model, task, train = dense
    loader = DataLoader(train, train.lengths, task, spec.recipe.batch_size, spec.recipe.accumulate, Seeds(spec.seed))
    steps = loader.steps(0)
    batches = [batch for _ in range(2) for batch in next(steps)]
    pixels = torch.cat([batch.inputs["pixel_values"] for batch in batches]).double()
    targets = torch.cat([batch.targets for batch in batches])
    path = "vit.layers.2.mlp.fc2"
    weight = model.get_submodule(path).weight

    def loss(value):
        logits = functional_call(model, {f"{path}.weight": value}, (pixels,)).logits
        return torch.nn.functional.cross_entropy(logits, targets)

    (gradient,) = torch.autograd.grad(loss(weight), weight)
    values = np.linalg.svd(gradient.numpy(), compute_uv=False)
    assert np.allclose(advice[path].spectra["gradient"], values, rtol=1e-4, atol=1e-6 * values[0])
    assert advice[path].ranks["gradient_s2"] == rank_by_hand(values, 0.9, 2)


def test_the_bottleneck_is_that_of_all_training_rows_at_once(advice, dense):
    """The joint covariance of A·x and the one-hot class, over the whole split, by determinants."""
    model, task, train = dense
    batch = task.collate([train[i] for i in range(len(train))], None)
    path, reads = "vit.layers.0.attention.q_proj", []
    hook = model.get_submodule(path).register_forward_pre_hook(lambda _, args: reads.append(args[0].mean(1)))
    with torch.no_grad():
        model(pixel_values=batch.inputs["pixel_values"].double())
    hook.remove()
    x, y = reads[0].numpy(), np.eye(5)[batch.targets.numpy()][:, :-1]
    known, variance = advice[path].information, 0.01 * x.var(0).mean()

    def dense_information(kept):
        joint = np.cov(np.hstack([x, y])[kept].T, bias=True)
        joint[:64, :64] += variance * np.eye(64)  # all 64 directions are the whole input, however they are turned
        logs = [np.linalg.slogdet(part)[1] for part in (joint[:64, :64], joint[64:, 64:], joint)]
        return 0.5 * (logs[0] + logs[1] - logs[2])

    folds = np.arange(len(x)) % 10
    left_out = [dense_information(folds != fold) for fold in range(10)]
    estimate = 10 * dense_information(folds >= 0) - 9 * np.mean(left_out)
    assert known["about_y"][-1] == pytest.approx(estimate, rel=1e-3)
    assert known["about_y_error"][-1] == pytest.approx(3 * np.std(left_out), rel=1e-2)
    assert advice[path].ranks["bottleneck"] == 1 + next(
        k for k, value in enumerate(known["objective"])
        if value >= max(known["objective"]) - known["objective_error"][int(np.argmax(known["objective"]))]
    )  # fmt: skip


def test_nothing_but_the_training_split_is_read(spec, peftlab_cache, advice, monkeypatch):
    class Poisoned:
        def __getattribute__(self, name):
            raise AssertionError("a held-out split was read")

    def poisoned(*args):
        whole = load_data(*args)
        return Data(whole.train, Poisoned(), Poisoned(), whole.facts)

    monkeypatch.setattr(module, "load_data", poisoned)
    again = advise(spec, Question(steps=2), peftlab_cache, CPU, data=True)
    assert [site.ranks for site in again] == [site.ranks for site in advice.values()]


def test_from_a_run_its_adapter_is_looked_at_and_the_answer_lies_beside_it(tmp_path, peftlab_cache, capsys):
    store = [f"runs={tmp_path}/runs", f"cache={peftlab_cache}", f"report={tmp_path}/report"]
    run = ["run", *WORDS, "method=lora", "recipe.max_steps=6", "recipe.evaluations=1", "tracker=none", *store]
    assert main(run) == 0
    (record,) = (tmp_path / "runs").glob("*/record.json")
    before = record.read_bytes()
    capsys.readouterr()
    assert main(["recommend-rank", "--from", record.parent.name, "--energy", "0.8", "--json", *store]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert "No evidence" in answer["evidence"][0] and answer["question"]["energy"] == 0.8
    tensors = load_file(record.parent / "adapter" / "state.safetensors")
    (given,) = answer["answers"]
    for site in given["sites"]:
        if "adapter_s2" not in site["ranks"]:
            assert site["target"] not in ("q", "v")
            continue
        b, a = (tensors[f"adapter.{site['path']}.{name}"].double().numpy() for name in "ba")
        values = np.linalg.svd(2 * b @ a, compute_uv=False)[:16]
        assert site["ranks"]["adapter_s2"] == rank_by_hand(values, 0.8, 2)
        assert np.allclose(site["spectra"]["adapter"], values, rtol=1e-5, atol=1e-7 * values[0])
    (side,) = (record.parent / "rank_advice").glob("*.json")
    assert json.loads(side.read_text())["answer"]["sites"] == given["sites"] and record.read_bytes() == before
    assert (tmp_path / "report" / "rank-advice" / "vit_micro-digits" / "rank-advice.png").stat().st_size > 5000


def test_a_model_alone_needs_no_data_and_a_wrong_request_is_one_sentence(tmp_path, peftlab_cache, capsys):
    store = [f"runs={tmp_path}/runs", f"cache={peftlab_cache}", f"report={tmp_path}/report"]
    assert main(["recommend-rank", "model=vit_micro", *store]) == 0
    shown = capsys.readouterr().out
    assert "weight, Σ s²" in shown and "gradient" not in shown and "No evidence" in shown
    for words, sentence in (
        ([], "for which model?"),
        (["model=vit_micro", "--energy", "1.5"], "--energy 1.5: a share is above 0"),
        (["--from", "abc"], "no run begins so"),
        (["--from", "abc", "model=vit_micro"], "leave model="),
        (["sweep=rank_recommend"], "rank_recommend"),
    ):
        assert main(["recommend-rank", *words, *store]) == 2
        said = capsys.readouterr().err
        assert sentence in said and "Traceback" not in said
