"""The kind `curvature` on a real run of a tiny model, against differences of its gradient."""

import numpy as np
import pytest
import torch

from harness.config.overrides import parse_words
from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.diagnostics.diagnose import diagnose
from harness.diagnostics.generalization import chosen_rows
from harness.diagnostics.of_loss import adapted_weights, losses
from harness.diagnostics.subject import load_subject
from harness.ledger.side_record import read_all
from harness.ledger.store import Store
from harness.planning.plan import plan_sweep, request_of
from harness.training.run import run_one

RUNS = ("model=vit_micro", "dataset=digits", "recipe=quick_image", "recipe.max_steps=6", "recipe.evaluations=1")
EXAMPLES = 8


@pytest.fixture(scope="module")
def measured(tmp_path_factory, peftlab_cache):
    """The answer for a run of LoRA, and the run put together again."""
    root = tmp_path_factory.mktemp("curvature")
    words = [f"runs={root / 'runs'}", f"cache={peftlab_cache}", "device=cpu", "tracker=none"]
    request = request_of(parse_words(["method=lora", *RUNS, *words]))
    settings, plan = settings_from(request.config), plan_sweep(request, Resolver())
    store = Store(settings.runs)
    assert run_one(plan.runs[0], store, settings).status == "done"
    asked = {"checkpoint": "selected", "examples": EXAMPLES, "draws": 2}
    outcomes = list(diagnose(plan.ids, store, settings, ("curvature",), asked))
    assert [(o.state, o.why) for o in outcomes] == [("measured", "")]
    folder, record = store.paths(plan.ids[0]), store.read(plan.ids[0])
    return read_all(folder, "curvature", 1)[0].answer, load_subject(folder, record, settings, "selected")


def test_the_largest_eigenvalue_is_at_least_the_curvature_along_the_gradient(measured):
    """Which central differences of the gradient give; the loss is the one that a plain evaluation has."""
    answer, subject = measured
    weights = [weight.requires_grad_(True) for weight in adapted_weights(subject)]
    rows = chosen_rows([subject.data.train[row]["id"] for row in range(len(subject.data.train))], EXAMPLES)
    theirs = subject.predict([subject.data.train[row] for row in rows], [subject.data.train.lengths[r] for r in rows])
    (share,) = losses(subject, EXAMPLES)
    assert share().item() == pytest.approx(np.mean([prediction.loss for prediction in theirs]), rel=1e-5)
    gradients = torch.autograd.grad(share(), weights)
    size = torch.stack([(gradient**2).sum() for gradient in gradients]).sum().sqrt()
    along, step, sides_of = [gradient / size for gradient in gradients], 1e-2, []
    for sign in (1, -1):
        moved = [w.detach() + sign * step * v for w, v in zip(weights, along, strict=True)]
        with torch.no_grad():
            for weight, value in zip(weights, moved, strict=True):
                weight.copy_(value)
        shifted = torch.autograd.grad(share(), weights)
        sides_of.append(float(sum((g * v).sum() for g, v in zip(shifted, along, strict=True))))
        with torch.no_grad():
            for weight, v in zip(weights, along, strict=True):
                weight.sub_(sign * step * v)
    curvature = (sides_of[0] - sides_of[1]) / (2 * step)
    assert 0 < curvature <= 1.02 * answer["largest_eigenvalue"]
    assert answer["parameters"] == sum(weight.numel() for weight in weights) and answer["trace_error"] > 0
