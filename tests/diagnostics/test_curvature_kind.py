"""The kinds about the loss around a run, on a real one of a tiny model: against differences, and plain evaluations."""

import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from harness.config.overrides import parse_words
from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.diagnostics.curvature import Hessian
from harness.diagnostics.diagnose import diagnose
from harness.diagnostics.generalization import chosen_rows
from harness.diagnostics.of_landscape import measure
from harness.diagnostics.of_loss import adapted_weights, losses
from harness.diagnostics.of_start import started
from harness.diagnostics.subject import load_subject
from harness.ledger.side_record import read_all
from harness.ledger.store import Store
from harness.planning.plan import plan_sweep, request_of
from harness.training.run import run_one
from methods.inject import Adapted

RUNS = ("model=vit_micro", "dataset=digits", "recipe=quick_image", "recipe.max_steps=6", "recipe.evaluations=1")
EXAMPLES = 4
KINDS = ("curvature", "landscape", "start")


@pytest.fixture(scope="module")
def measured(tmp_path_factory, peftlab_cache):
    """The answers for a run of LoRA by kind, and the run put together again."""
    root = tmp_path_factory.mktemp("curvature")
    words = [f"runs={root / 'runs'}", f"cache={peftlab_cache}", "device=cpu", "tracker=none"]
    request = request_of(parse_words(["method=lora", "keep_last=true", *RUNS, *words]))
    settings, plan = settings_from(request.config), plan_sweep(request, Resolver())
    store = Store(settings.runs)
    assert run_one(plan.runs[0], store, settings).status == "done"
    asked = {"checkpoint": "selected", "examples": EXAMPLES, "draws": 2}
    outcomes = list(diagnose(plan.ids, store, settings, KINDS, asked))
    assert [(o.state, o.why) for o in outcomes] == [("measured", "")] * 3
    folder, record = store.paths(plan.ids[0]), store.read(plan.ids[0])
    answers = {kind: read_all(folder, kind, 1)[0].answer for kind in KINDS}
    return answers, load_subject(folder, record, settings, "selected")


def test_the_largest_eigenvalue_is_at_least_the_curvature_along_the_gradient(measured):
    """Which central differences of the gradient give; the loss is the one that a plain evaluation has."""
    answers, subject = measured
    answer = answers["curvature"]
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


def test_a_landscape_holds_what_an_evaluation_says_at_the_centre_and_at_the_start(measured):
    answers, subject = measured
    answer, path = answers["landscape"], answers["landscape"]["path"]
    rows = chosen_rows([subject.data.train[row]["id"] for row in range(len(subject.data.train))], EXAMPLES)
    examples, lengths = [subject.data.train[row] for row in rows], [subject.data.train.lengths[row] for row in rows]

    def loss():
        return np.mean([prediction.loss for prediction in subject.predict(examples, lengths)])

    assert answer["loss"] == pytest.approx(loss(), rel=1e-5)
    assert np.array(answer["losses"]).shape == (4, 8)
    assert answer["ring_rise"] == pytest.approx(np.mean(answer["losses"][1]) - answer["loss"])
    assert answer["ring_rise_max"] == pytest.approx(np.max(answer["losses"][1]) - answer["loss"])
    assert math.hypot(*path["points"][1]) == pytest.approx(_moved(subject.changes), rel=1e-4)
    assert list(path["names"]) == ["selected", "start"] and len(path["losses"]) == len(path["steps"][0]) == 9


def test_a_last_checkpoint_that_is_another_spans_a_plane(measured, monkeypatch):
    """Planted: the selected one with one more in each entry of its factors B."""
    _, subject = measured
    folder = Store(subject.settings.runs).paths(subject.run_id)
    shutil.copytree(folder.adapter, folder.last, dirs_exist_ok=True)
    tensors = load_file(folder.adapter / "state.safetensors")
    moved = {name: tensor + 1 if name.endswith(".b") else tensor for name, tensor in tensors.items()}
    save_file(moved, folder.last / "state.safetensors")
    earlier = replace(subject.record, selected={**subject.record.selected, "step": 0})
    monkeypatch.setattr(subject, "record", earlier)
    path = measure(subject, {"checkpoint": "selected", "examples": EXAMPLES})["path"]
    assert path["names"] == ["selected", "start", "last"] and len(path["losses"]) == 36
    last = load_subject(folder, earlier, subject.settings, "last").changes
    after = [replace(now, before=then.after) for now, then in zip(subject.changes, last, strict=True)]
    for point, changes in zip(path["points"][1:], (subject.changes, after), strict=True):
        assert math.hypot(*point) == pytest.approx(_moved(changes), rel=1e-4)


def test_the_curvature_at_the_start_is_that_of_the_layers_that_train(measured):
    """The products with the Hessian, on branches, are differences of gradients that the fast layers give."""
    answers, subject = measured
    model, parameters = started(subject)
    shares = losses(subject, EXAMPLES, model)
    draw = torch.Generator().manual_seed(3)
    vector = torch.randn(sum(p.numel() for p in parameters), generator=draw)
    vector /= vector.norm()
    product = Hessian(shares, parameters).times(vector)
    for module in (module for module in model.modules() if isinstance(module, Adapted)):
        module._fast_path = type(module._each[0]).fast_path
        assert module._fast_path is not None
    at, step, gradients = parameters_to_vector(parameters).detach(), 1e-2, []
    for sign in (1, -1):
        vector_to_parameters(at + sign * step * vector, parameters)
        gradients.append(parameters_to_vector(torch.autograd.grad(sum(share() for share in shares), parameters)))
    theirs = (gradients[0] - gradients[1]) / (2 * step)
    assert float((product - theirs).norm() / theirs.norm()) < 0.02
    assert answers["start"]["start_eigenvalue"] >= 0.98 * float(vector @ product)
    assert answers["start"]["parameters"] == len(vector) == subject.counts["adapter"]


def _moved(changes):
    return math.sqrt(sum(float((change.after - change.before).double().square().sum()) for change in changes))
