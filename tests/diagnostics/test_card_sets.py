"""Forgetting on the sets that a dataset's card names, of a tiny language model."""

import copy

import pytest
import torch

from harness.config.overrides import assign, parse_words
from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.data.load import Encoder, load_data
from harness.diagnostics import card_sets, forgetting
from harness.diagnostics.diagnose import diagnose
from harness.diagnostics.generalization import chosen_rows
from harness.diagnostics.questions import question_of, sets_of
from harness.diagnostics.subject import load_subject
from harness.ledger.seeds import Seeds
from harness.ledger.side_record import read_all
from harness.ledger.store import Store
from harness.models.load import load_model
from harness.planning.plan import plan_sweep, request_of
from harness.tasks.build import build
from harness.training.run import run_one

ROWS = 20
CARD = """
defaults: [kinship_choice, _self_]
name: keeping
retention: [kinship_lm, kinship_choice]
"""


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """A folder of own cards, with one that names what was known."""
    monkeypatch.setenv("PEFTLAB_CONF", str(tmp_path / "conf"))
    (tmp_path / "conf" / "dataset").mkdir(parents=True)
    (tmp_path / "conf" / "dataset" / "keeping.yaml").write_text(CARD)
    sets_of.cache_clear()
    yield tmp_path
    sets_of.cache_clear()


def test_sets_of_a_card_are_asked_before_and_after_as_a_plain_loop_asks_them(conf, peftlab_cache, monkeypatch):
    monkeypatch.setattr(card_sets, "ROWS", ROWS)
    typed = ["method=lora", "model=gemma3_1b", "model.size=tiny", "dataset=keeping", "recipe=quick_text"]
    typed += ["recipe.max_steps=3", "recipe.evaluations=1", "recipe.lr=0.05", "tracker=none", "device=cpu"]
    request = request_of(parse_words([*typed, f"runs={conf / 'runs'}", f"cache={peftlab_cache}"]))
    settings, plan = settings_from(request.config), plan_sweep(request, Resolver())
    store = Store(settings.runs)
    assert run_one(plan.runs[0], store, settings).status == "done"
    (outcome,) = diagnose(plan.ids, store, settings, ["forgetting"], {"checkpoint": "selected"})
    assert (outcome.state, outcome.why) == ("measured", "")
    (side,) = read_all(store.paths(plan.ids[0]), "forgetting", 1)
    text, choice = side.answer["sets"]
    assert list(side.question["retention"]) == [text["set"], choice["set"]] == ["kinship_lm", "kinship_choice"]
    assert side.answer["accuracy_after"] == pytest.approx((text["accuracy_after"] + choice["accuracy_after"]) / 2)
    subject = load_subject(store.paths(plan.ids[0]), store.read(plan.ids[0]), settings, "selected")
    fresh = load_model(subject.spec.model, subject.spec.dataset.task, Seeds(subject.spec.seed), peftlab_cache).model
    for when, model in (("before", fresh), ("after", copy.deepcopy(subject.merged))):
        loss, accuracy = _plain_loop(model.double().eval(), subject.loaded, peftlab_cache)
        assert text[f"loss_{when}"] == pytest.approx(loss, rel=1e-4)
        assert text[f"accuracy_{when}"] == pytest.approx(accuracy, abs=2e-3)
    monkeypatch.setattr(forgetting, "load_model", None)  # what was known before is not asked again
    assert forgetting.measure(subject, side.question)["loss_before"] == side.answer["loss_before"]


def _plain_loop(model, loaded, cache):
    """Loss of a target token and the share of these that are right, example after example in double precision."""
    card = Resolver().part("dataset", [assign("dataset", "kinship_lm")]).spec
    task = build(card, loaded)
    test = load_data(card, Encoder(task.encode, task.length, loaded.processor_key), cache).test
    losses, right = [], []
    for row in chosen_rows([test[row]["id"] for row in range(len(test))], ROWS):
        ids, start = torch.tensor(test[row]["input_ids"]).long(), test[row]["prompt"]
        with torch.no_grad():
            logits = model(input_ids=ids[None]).logits[0, start - 1 : -1]
        losses.append(torch.nn.functional.cross_entropy(logits, ids[start:], reduction="none"))
        right.append(logits.argmax(-1) == ids[start:])
    return float(torch.cat(losses).mean()), float(torch.cat(right).double().mean())


def test_a_card_that_names_no_set_asks_the_question_of_before(conf):
    asked = {"checkpoint": "selected", "retention": ()}
    assert question_of("forgetting", asked) == {"checkpoint": "selected"}
    assert "retention" not in question_of("bounds", {**asked, "retention": ("x",)})
    assert sets_of("keeping") == ("kinship_lm", "kinship_choice") and sets_of("has_gone") == sets_of("digits") == ()


def test_the_sets_are_no_part_of_an_id(conf):
    def planned(dataset):
        words = ["method=lora", "model=gemma3_1b", f"dataset={dataset}", "recipe=quick_text", "tracker=none"]
        return plan_sweep(request_of(parse_words(words)), Resolver())

    with_sets = planned("keeping").ids
    card = (conf / "conf" / "dataset" / "keeping.yaml").read_text()
    (conf / "conf" / "dataset" / "keeping.yaml").write_text(card.replace("[kinship_lm, kinship_choice]", "[]"))
    assert planned("keeping").ids == with_sets
