"""What the training loop does besides stepping: clipping, seeds, patience, evaluation, and which weights are tested."""

import math
from dataclasses import replace
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
from harness.training.context import Best, Diverged, TrainState
from harness.training.evaluate import predict
from harness.training.loader import DataLoader
from harness.training.optimizer import build_optimizer, trained
from harness.training.schedule import TrainSchedule, train_schedule
from methods.method import NO_CHANGE, Change, Progress

WORDS = ("model=vit_micro", "dataset=digits", "method=lora", "recipe.max_steps=4", "tracker=none", "device=cpu")


@pytest.fixture
def planned(tmp_path, peftlab_cache):
    def plan(*words):
        request = read_request([*WORDS, f"runs={tmp_path / 'runs'}", f"cache={peftlab_cache}", *words])
        settings = settings_from(request.config)
        return plan_one(request, Resolver()), Store(settings.runs), settings

    return plan


@pytest.fixture
def loaded(planned):
    """What a run is made of, its optimizer and its timeline."""

    def load(*words):
        plan, store, settings = planned(*words)
        folder, device = store.paths(plan.id), torch.device("cpu")
        folder.folder.mkdir(parents=True)
        spec = parse(RunSpec, plan.spec, "run")
        context = run_module.load(spec, folder, settings, device, Clocks(device), Events(folder.events))
        return context, build_optimizer(context.method, spec.recipe), train_schedule(spec.recipe, 7)

    return load


def test_a_step_clips_its_gradients_and_has_a_dropout_seed_of_its_own(loaded, monkeypatch):
    context, optimizer, schedule = loaded("recipe.clip_norm=0.01")
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
        loop_module._step(context, optimizer, schedule, window, TrainState(step=step))
    assert norms == pytest.approx([0.01] * 3, rel=1e-3)  # unclipped they are far above it
    assert seeds[0] == seeds[2] != seeds[1]


def test_a_method_sees_the_gradients_of_the_step_and_none_of_the_step_before(loaded, monkeypatch):
    context, optimizer, schedule = loaded("recipe.clip_norm=null")
    progresses, seen, before = [], [], []

    def look(progress):
        progresses.append(progress)
        seen.append([p.grad.clone() for p in trained(optimizer)])  # an error where there is none
        return NO_CHANGE

    def alone(context, window):
        before.append([p.grad for p in trained(optimizer)])
        return backward(context, window)

    backward = loop_module.backward
    monkeypatch.setattr(context.method, "after_step", look)
    monkeypatch.setattr(loop_module, "backward", alone)
    for step, window in zip(range(2), context.loader.steps(0), strict=False):
        loop_module._step(context, optimizer, schedule, window, TrainState(step=step))
    assert progresses == [Progress(step, schedule.total, schedule.steps_per_epoch) for step in (1, 2)]
    assert schedule.total != schedule.steps_per_epoch
    assert all(gradient is None for gradients in before for gradient in gradients)
    assert all(any(gradient.any() for gradient in gradients) for gradients in seen)


def test_moments_are_forgotten_where_a_method_says_so_and_nowhere_else(loaded, monkeypatch):
    context, optimizer, schedule = loaded()
    gone, *kept = trained(optimizer)
    changes = iter([NO_CHANGE, Change(forget=(gone,))])
    monkeypatch.setattr(context.method, "after_step", lambda progress: next(changes))
    for step, window in zip(range(2), context.loader.steps(0), strict=False):
        loop_module._step(context, optimizer, schedule, window, TrainState(step=step))
    assert gone not in optimizer.state and all(optimizer.state[p]["step"] == 2 for p in kept)


def test_a_step_minimises_the_mean_loss_of_its_examples_and_the_penalty_once(loaded, monkeypatch):
    """However the examples are cut into micro-batches; against the plain sum, differentiated in one piece."""
    context, optimizer, _ = loaded()
    context.model.eval()  # no dropout: its masks have the shape of the batch
    parameters = trained(optimizer)
    with torch.no_grad():
        for parameter in parameters:
            parameter += 0.01  # so that the penalty has a gradient everywhere
    monkeypatch.setattr(context.method, "penalty", lambda: 0.5 * sum(p.square().sum() for p in parameters))
    rows = [context.data.train[row] for row in range(24)]
    collate = context.task.collate
    mean = context.task.losses(context.model, collate(rows, None)).sum() / 24
    minimised = mean + 0.5 * sum(p.square().sum() for p in parameters)
    gradients = torch.autograd.grad(minimised, parameters)
    for parts in ([rows], [rows[:17], rows[17:]]):
        context.model.zero_grad()
        total = loop_module.backward(context, [collate(part, None) for part in parts])
        torch.testing.assert_close(total, minimised.detach(), rtol=1e-5, atol=1e-6)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_loss_that_is_no_finite_number_ends_the_run(value):
    schedule = TrainSchedule(9, 3, 0, frozenset({9}), "linear", 0.0)
    with pytest.raises(Diverged, match="by step 4 of 9"):
        loop_module._read([torch.tensor(1.0), torch.tensor(value)], TrainState(step=4), schedule)


@pytest.mark.parametrize(("direction", "better"), [("max", 0.6), ("min", 0.4)])
def test_the_first_of_equal_evaluations_stays_the_best(direction, better):
    assert [value for value in (0.4, 0.5, 0.6) if loop_module._better(value, 0.5, direction)] == [better]


def test_a_point_of_the_curve_is_of_the_steps_since_the_last_one(planned, monkeypatch):
    """Its loss, rate, epoch and seconds, against what the steps themselves saw."""
    step, steps = loop_module._step, []

    def noted(context, optimizer, schedule, window, number):
        loss = step(context, optimizer, schedule, window, number)
        rates = {group["lr"] / group["base_lr"] for group in optimizer.param_groups}
        steps.append((loss.item(), rates, sum(len(batch.ids) for batch in window), context.loader.steps_per_epoch))
        return loss

    monkeypatch.setattr(loop_module, "_step", noted)
    record = run_module.run_one(*planned("method=head", "recipe.evaluations=2", "recipe.warmup_ratio=0.5"))
    assert record.failure is None, record.failure
    assert [point.step for point in record.curve] == [2, 4]
    for point, window in zip(record.curve, (steps[:2], steps[2:]), strict=True):
        assert point.train_loss == pytest.approx(sum(loss for loss, *_ in window) / 2)
        (rate,) = window[-1][1]
        assert point.lr == pytest.approx(record.spec["recipe"]["lr"] * rate)
        assert point.epoch == pytest.approx(point.step / steps[0][3])
    assert [rate for _, (rate,), *_ in steps] == pytest.approx([1 / 3, 2 / 3, 1.0, 0.5])
    assert record.work["examples_seen"].value == sum(examples for *_, examples, _ in steps)
    assert record.selected["epoch"] == pytest.approx(record.selected["step"] / steps[0][3])
    assert 0 < record.curve[0].train_seconds < record.curve[1].train_seconds == record.seconds["train"].value


def test_the_timer_of_steps_counts_examples_tokens_and_padding_of_all_micro_batches(loaded):
    context, optimizer, schedule = loaded("recipe.accumulate=2")
    first, second = next(context.loader.steps(0))
    window = [replace(first, tokens=3, padded_tokens=5), replace(second, tokens=4, padded_tokens=8)]
    counts = []
    timer = SimpleNamespace(start=lambda: None, stop=lambda **given: counts.append(given))
    loop_module._until_evaluation(
        replace(context, timer=timer), TrainState(), optimizer, schedule, iter([window]), 0.0, math.inf, lambda: True
    )
    assert counts == [{"samples": len(first.ids) + len(second.ids), "tokens": 7, "padded_tokens": 13}]


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
    rows = predict(model, task, range(5), [1, 5, 2, 4, 3], batch_size=2, device=device, autocast=plain)
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


@pytest.mark.parametrize("direction, expected", [("max", (0.5, 0.7)), ("min", (-0.5, -0.7))])
def test_a_method_knows_of_validation_what_selects_the_larger_the_better_and_nothing_of_test(direction, expected):
    dataset = SimpleNamespace(metric="score", direction=direction)
    context = SimpleNamespace(spec=SimpleNamespace(dataset=dataset))  # and no data: test labels cannot be read
    curve = [Point(n, n, 0.0, 0.0, 0.0, {"score": value, "loss": 9.0}) for n, value in ((1, 0.5), (2, 0.7))]
    assert loop_module._validation_scores(context, TrainState(curve=curve)) == expected
