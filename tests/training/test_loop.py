"""What the training loop does besides stepping: clipping, seeds, patience, evaluation, and which weights are tested."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

import harness.training.loop as loop_module
import harness.training.run as run_module
from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.ledger.events import Events
from harness.ledger.parse import parse
from harness.ledger.record import Point
from harness.ledger.seeds import Seeds
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store
from harness.measure.clocks import Clocks
from harness.planning.plan import plan_one, read_request
from harness.tasks.task import Batch
from harness.training.context import Best, TrainState
from harness.training.evaluate import predict
from harness.training.loader import DataLoader
from harness.training.optimizer import build_optimizer, trained
from harness.training.schedule import train_schedule

WORDS = ("model=vit_micro", "dataset=digits", "method=lora", "recipe.max_steps=4", "tracker=none", "device=cpu")


@pytest.fixture
def planned(tmp_path, peftlab_cache):
    def plan(*words):
        request = read_request([*WORDS, f"runs={tmp_path / 'runs'}", f"cache={peftlab_cache}", *words])
        settings = settings_from(request.config)
        return plan_one(request, Resolver()), Store(settings.runs), settings

    return plan


def test_a_step_clips_its_gradients_and_has_a_dropout_seed_of_its_own(planned, monkeypatch):
    plan, store, settings = planned("recipe.clip_norm=0.01")
    folder, device = store.paths(plan.id), torch.device("cpu")
    folder.folder.mkdir(parents=True)
    spec = parse(RunSpec, plan.spec, "run")
    context = run_module.load(spec, folder, settings, device, Clocks(device), Events(folder.events))
    optimizer, schedule = build_optimizer(context.method, spec.recipe), train_schedule(spec.recipe, 7)
    norms, seeds = [], []
    after_step, backward = context.method.after_step, loop_module.backward

    def noted(progress):
        norms.append(torch.cat([p.grad.flatten() for p in trained(optimizer) if p.grad is not None]).norm().item())
        return after_step(progress)

    def seeded(*given):
        seeds.append(torch.default_generator.initial_seed())
        return backward(*given)

    monkeypatch.setattr(context.method, "after_step", noted)
    monkeypatch.setattr(loop_module, "backward", seeded)
    window = next(context.loader.steps(0))
    for step in (0, 1, 0):
        loop_module._step(context, optimizer, schedule, window, step)
    assert norms == pytest.approx([0.01] * 3, rel=1e-3)  # unclipped they are far above it
    assert seeds[0] == seeds[2] != seeds[1]


@pytest.mark.parametrize(("patience", "evaluations", "stops"), [(2, 3, False), (2, 4, True), (1, 2, False),
                                                                (1, 3, True), (None, 9, False)])  # fmt: skip
def test_training_stops_after_exactly_so_many_evaluations_without_a_better_one(patience, evaluations, stops):
    """The best is the second."""
    curve = [Point(step, 0.0, 0.0, 0.0, 0.0, {}) for step in range(1, evaluations + 1)]
    state = TrainState(curve=curve, best=Best(2, 0.5, {}, {}, {}))
    assert loop_module._no_better(state, patience) == stops


def test_an_evaluation_is_without_gradients_in_eval_mode_and_puts_the_mode_back():
    seen = []

    def look(model, batch):
        seen.append((torch.is_grad_enabled(), model.training))
        return [SimpleNamespace(id=id_) for id_ in batch.ids]

    def collate(rows, rng):
        return Batch({}, torch.tensor(rows), tuple(map(str, rows)), len(rows), 1, 1)

    model, task = nn.Linear(1, 1).train(), SimpleNamespace(collate=collate, predict=look)
    device, plain = torch.device("cpu"), torch.autocast("cpu", enabled=False)
    rows = predict(model, task, range(5), [1] * 5, batch_size=2, device=device, autocast=plain)
    assert [row.id for row in rows] == list("01234")
    assert seen == [(False, False)] * 3 and model.training


def test_augmentation_is_another_one_in_every_epoch():
    def collate(rows, rng):
        return Batch({"noise": torch.rand(3, generator=rng)}, torch.tensor(rows), ("0",) * len(rows), len(rows), 1, 1)

    steps = DataLoader(range(4), [1] * 4, SimpleNamespace(collate=collate), 2, 1, Seeds(0)).steps(0)
    noises = [tuple(next(steps)[0].inputs["noise"].tolist()) for _ in range(6)]  # two steps an epoch
    assert len(set(noises)) == 6


def test_the_weights_that_are_tested_are_those_of_the_best_evaluation(planned, monkeypatch):
    monkeypatch.setattr(loop_module, "_better", lambda *given: False)  # the first evaluation stays the best
    states, real_test, real_predict = [], run_module.test, run_module.predict_split

    def test(context, state):
        last = {name: tensor.clone() for name, tensor in context.method.tensors().items()}
        assert any(not torch.equal(last[name], tensor) for name, tensor in state.best.tensors.items())
        states.append(state)
        return real_test(context, state)

    def predict_best(context, split):
        present = context.method.tensors()
        assert all(torch.equal(present[name], tensor) for name, tensor in states[-1].best.tensors.items())
        return real_predict(context, split)

    monkeypatch.setattr(run_module, "test", test)
    monkeypatch.setattr(run_module, "predict_split", predict_best)
    record = run_module.run_one(*planned("recipe.evaluations=2"))
    assert record.failure is None, record.failure
    assert record.selected["step"] == 2 and len(states) == 1
