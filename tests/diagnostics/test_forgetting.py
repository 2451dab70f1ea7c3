"""Forgetting: each loss and accuracy is those of plain sums in double precision."""

import copy
import random

import numpy as np
import pytest
import torch

from harness.config.overrides import expand, parse_words
from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.data.builtin.digits import images_of
from harness.data.builtin.shapes_vqa import scene
from harness.diagnostics import retention
from harness.diagnostics.diagnose import diagnose
from harness.diagnostics.retention import PARAGRAPHS, TOKENS, paragraphs, retention_set
from harness.diagnostics.subject import load_subject
from harness.ledger.plan import write_plan
from harness.ledger.seeds import Seeds
from harness.ledger.side_record import read_all
from harness.ledger.store import Store
from harness.models.gemma3_micro_build import Captions
from harness.models.load import load_model
from harness.models.vit_micro import PROCESSOR, pretraining_head
from harness.planning.plan import plan_sweep, request_of
from harness.training.run import run_one

RUN = ("dataset=digits", "recipe=quick_image", "recipe.max_steps=12", "recipe.evaluations=2", "device=cpu")
CPU = torch.device("cpu")


def _finished(root, cache, *words):
    """(store, settings, ids by method) of runs that are made here."""
    typed = [*words, *RUN, f"runs={root / 'runs'}", f"cache={cache}", "tracker=none", "keep=all"]
    request = request_of(parse_words(typed))
    settings, plan = settings_from(request.config), plan_sweep(request, Resolver())
    write_plan(settings.runs, plan)
    for planned in plan.runs:
        assert run_one(planned, Store(settings.runs), settings).status == "done"
    store = Store(settings.runs)
    return store, settings, {record.spec["method"]["name"]: record.id for record in store.records()}


@pytest.fixture(scope="module")
def answers(tmp_path_factory, peftlab_cache):
    """Method -> (answer, its model merged, in double precision), of vit_micro on the digits 5 to 9."""
    store, settings, ids = _finished(
        tmp_path_factory.mktemp("forget"), peftlab_cache, "model=vit_micro", "method=lora,head,full"
    )
    outcomes = list(diagnose(ids.values(), store, settings, ["forgetting"], {"checkpoint": "selected"}))
    assert {outcome.state for outcome in outcomes} == {"measured"}
    known = {}
    for method, run_id in ids.items():
        (side,) = read_all(store.paths(run_id), "forgetting", 1)
        subject = load_subject(store.paths(run_id), store.read(run_id), settings, "selected")
        known[method] = side.answer, copy.deepcopy(subject.merged).double().eval(), subject
    return known


def _digits_in_double(model, head):
    """Loss and accuracy on the digits 0 to 4."""
    images, labels = images_of(range(5))
    with torch.no_grad():
        pixels = torch.tensor((images[:, None] / 255 - PROCESSOR.mean[0]) / PROCESSOR.std[0])
        tokens = model.vit(pixel_values=pixels).last_hidden_state[:, 0].numpy()
    logits = tokens @ head["classifier.weight"].double().numpy().T + head["classifier.bias"].double().numpy()
    losses = [np.log(np.exp(row).sum()) - row[label] for row, label in zip(logits, labels, strict=True)]
    return np.mean(losses), np.mean(logits.argmax(1) == labels)


def test_digits_are_forgotten_as_much_as_a_plain_loop_says(answers, peftlab_cache):
    answer, model, subject = answers["lora"]
    spec, task = subject.spec.model, subject.spec.dataset.task
    head = pretraining_head()
    fresh = load_model(spec, task, Seeds(0), peftlab_cache).model.double().eval()
    for when, weights in (("before", fresh), ("after", model)):
        loss, accuracy = _digits_in_double(weights, head)
        assert answer[f"loss_{when}"] == pytest.approx(loss, abs=1e-5)
        assert answer[f"accuracy_{when}"] == pytest.approx(accuracy, abs=1e-12)
    assert answer["accuracy_before"] > 0.98 and (answer["n"], answer["set"]) == (901, "digits 0 to 4")


def test_a_head_alone_forgets_nothing_and_the_others_do(answers):
    head = answers["head"][0]
    assert (head["loss_after"], head["accuracy_after"]) == (head["loss_before"], head["accuracy_before"])
    assert all(answers[method][0]["loss_after"] > head["loss_before"] + 0.01 for method in ("lora", "full"))


def _loaded(model, dataset, cache):
    """The pretrained model, a moved copy of it, and the set."""
    words = {
        axis: expand(parse_words([f"{axis}={name}"])[0]) for axis, name in (("model", model), ("dataset", dataset))
    }
    spec, card = (Resolver().part(axis, chosen).spec for axis, chosen in words.items())
    task = card.task
    loaded = load_model(spec, task, Seeds(0), cache)
    moved, draw = copy.deepcopy(loaded.model).eval(), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in moved.named_parameters():
            if name.endswith(("q_proj.weight", "attention.self.query.weight", "value.weight", "v_proj.weight")):
                weight += 0.5 * weight.std() * torch.randn(weight.shape, generator=draw)
    return loaded, moved, retention_set(loaded)


def _judged(loaded, moved, known):
    with torch.no_grad():
        before = known.outputs(loaded.model.eval(), CPU)
        return known.judge(before, before), known.judge(known.outputs(moved, CPU), before)


FEW = 24  # scenes or texts that are judged one by one


@pytest.mark.slow
def test_captions_are_judged_as_a_plain_loop_judges_them(peftlab_cache, monkeypatch):
    monkeypatch.setattr(retention, "SCENES", FEW)
    loaded, moved, known = _loaded("gemma3_micro", "shapes_vqa", peftlab_cache)
    before, after = _judged(loaded, moved, known)
    rng = random.Random(1)
    scenes = [scene(rng) for _ in range(FEW)]
    losses, whole = [], []
    model = moved.double()
    for things in scenes:  # alone, so that nothing is padded
        inputs, labels = Captions(loaded.spec).batch([things])
        with torch.no_grad():
            logits = model(**inputs | {"pixel_values": inputs["pixel_values"].double()}).logits[0, :-1].numpy()
        places = [(place, int(label)) for place, label in enumerate(labels[0, 1:]) if label != -100]
        losses += [np.log(np.exp(logits[place]).sum()) - logits[place, token] for place, token in places]
        whole.append(all(logits[place].argmax() == token for place, token in places))
    assert after == pytest.approx((np.mean(losses), np.mean(whole)), abs=1e-5)
    assert before[1] > 0.9 and before[0] < after[0]


@pytest.mark.slow
def test_embeddings_are_compared_as_a_plain_loop_compares_them(peftlab_cache, monkeypatch):
    assert len(paragraphs()) == PARAGRAPHS == 128
    monkeypatch.setattr(retention, "PARAGRAPHS", FEW)
    loaded, moved, known = _loaded("minilm", "trec50", peftlab_cache)
    before, after = _judged(loaded, moved, known)
    assert before == (pytest.approx(0, abs=1e-12), 1.0) and known.n == len(paragraphs()) == FEW
    old, new = (_embedded_alone(model.double(), loaded.processor) for model in (loaded.model.eval(), moved))
    cosines = [a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in zip(old, new, strict=True)]
    kept = [_nearest(old, row) == _nearest(new, row) for row in range(FEW)]
    assert after == pytest.approx((1 - np.mean(cosines), np.mean(kept)), abs=1e-5)
    assert after[0] > 0.001 and after[1] < 1


def _embedded_alone(model, tokenizer):
    with torch.no_grad():
        read = [tokenizer(text, truncation=True, max_length=TOKENS, return_tensors="pt") for text in paragraphs()]
        return [model.bert(**inputs).last_hidden_state[0].mean(0).numpy() for inputs in read]


def _nearest(rows, which):
    cosines = {other: rows[which] @ row / np.sqrt(row @ row) for other, row in enumerate(rows) if other != which}
    return max(cosines, key=cosines.__getitem__)


def test_a_model_of_which_nothing_is_known_is_left_out(tmp_path, peftlab_cache):
    store, settings, ids = _finished(tmp_path, peftlab_cache, "model=vit_micro", "model.size=tiny", "method=head")
    (outcome,) = diagnose(ids.values(), store, settings, ["forgetting"], {"checkpoint": "selected"})
    assert outcome.state == "left out" and "vit_micro" in outcome.why
    assert not (store.paths(ids["head"]).folder / "forgetting").exists()
