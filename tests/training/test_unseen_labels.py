"""What decides about ranks in a run sees no label of test, whichever the method."""

import pytest
import torch
from safetensors.torch import load_file

from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.ledger.store import Store
from harness.planning.plan import plan_one, read_request
from harness.training.run import run_one
from tests.fruit import write_fruit

WORDS = ("model=minilm", "model.size=tiny", "dataset=fruit", "recipe=quick_text", "recipe.batch_size=8",
         "recipe.epochs=50", "recipe.max_steps=12", "recipe.evaluations=6", "recipe.lr=3e-2", "tracker=none",
         "device=cpu", "keep=all")  # fmt: skip
METHODS = {  # AutoLoRA: test_autolora.py; the search: tests/cli/test_search.py; recommendations: tests/probe
    "grow": ("method.schedule.shape=adaptive", "method.schedule.every=6", "method.schedule.add=2",
             "recipe.max_steps=36", "recipe.evaluations=18"),
    "squeeze_in": ("method.update.rank=8", "method.update.alpha=16", "method.schedule.ranks=[8,2]"),
    "sora": ("method.update.shrink=0.1",),
    "l1ra": ("method.update.shrink=0.2", "method.schedule.rounds=3"),
    "adalora": ("method.update.options.tinit=2", "method.update.options.tfinal=2"),
    "dylora": (),
}  # fmt: skip


@pytest.fixture
def done(tmp_path, peftlab_cache, monkeypatch):
    """(record, tensors of the adapter) of a run; `wrong`: splits whose labels are all lemon."""

    def run(*words, wrong=()):
        monkeypatch.setenv("PEFTLAB_CONF", str(write_fruit(tmp_path, wrong)))
        request = read_request([*WORDS, *words, f"runs={tmp_path / 'runs'}", f"cache={peftlab_cache}"])
        settings, plan = settings_from(request.config), plan_one(request, Resolver())
        record = run_one(plan, Store(settings.runs), settings)
        assert record.failure is None, record.failure
        return record, load_file(Store(settings.runs).paths(plan.id).adapter / "state.safetensors")

    return run


@pytest.mark.long
@pytest.mark.parametrize("name", METHODS)
def test_the_labels_of_test_rows_change_no_rank_no_weight_and_no_choice_of_a_step(done, name):
    words = (f"method={name}", *METHODS[name])
    (clean, own), (poisoned, other) = done(*words), done(*words, wrong=("test",))
    assert clean.links or name in ("adalora", "dylora"), "something was decided"
    assert poisoned.links == clean.links and poisoned.selected == clean.selected
    assert [(point.train_loss, point.val) for point in poisoned.curve] == [
        (point.train_loss, point.val) for point in clean.curve
    ]
    assert own.keys() == other.keys() and all(torch.equal(own[key], other[key]) for key in own)
    assert poisoned.scores["val"] == clean.scores["val"] and poisoned.scores["test"] != clean.scores["test"]


def test_adaptive_growth_waits_for_what_validation_says(done):
    """With other labels of validation it grows at another step: the test above is of a choice that was made."""
    words = ("method=grow", *METHODS["grow"])
    records = [done(*words, wrong=wrong)[0] for wrong in ((), ("validation",))]
    clean, poisoned = ([entry["step"] for entry in record.links] for record in records)
    assert clean and clean != poisoned
