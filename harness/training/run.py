"""The story of one run, to be read aloud: load, attach, train, select, test, record."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from harness.training.loader import Feed
from harness.training.checkpoint import load_checkpoint
from harness.measure.cpu_matmul import fast_matmul
from harness.data.load import load_data
from harness.ledger.events import Events
from harness.training.failures import failure_of
from harness.training.artifacts import keep_predictions, keep_weights
from harness.ledger.parse import parse
from harness.ledger.paths import RunPaths, to_json, write_whole
from harness.ledger.plan import Planned
from harness.ledger.record import Record
from harness.ledger.seeds import Seeds
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store
from harness.measure.clocks import Clocks, StepTimer, pick_device
from harness.measure.memory import Memory
from harness.models.checkpointing import checkpoint_blocks
from harness.models.load import load_model
from harness.training.optimizer import build_optimizer
from harness.training.record import Tested, done_record, examine, failed_record, summary
from harness.training.context import Parts, State, Stop
from harness.config.settings import Settings
from harness.tasks.build import build as build_task
from harness.training.schedule import timeline
from harness.trackers.open import open_tracker
from harness.training.loop import predict_split, score_split, train
from methods.build import build as build_method


def run_one(planned: Planned, store: Store, settings: Settings, *, stop: Stop = lambda: False) -> Record:
    """Do the run and write its record, which is also returned. A run that fails has a record that says so.

    Raises Stopped when `stop()` asked for an end: a checkpoint is left and no record; the same call goes on from it.
    Raises KeyboardInterrupt after it was recorded.
    """
    folder = store.paths(planned.id)
    folder.folder.mkdir(parents=True, exist_ok=True)
    clocks, state = Clocks(device := pick_device(settings.device)), State()
    with _told(planned, folder, settings, clocks) as events:
        try:
            record = _live(planned, folder, settings, device, clocks, state, events, stop)
        except (Exception, KeyboardInterrupt) as error:  # broad: whatever went wrong becomes a record
            failure = failure_of(error, clocks.failed_in, state.step)
            record = failed_record(planned, failure, clocks, state, device)
        store.write(record)
        events.say("end" if record.status == "done" else "failed", **summary(record))
    if record.failure is not None and record.failure.kind == "interrupt":
        raise KeyboardInterrupt
    if record.status == "done":
        shutil.rmtree(folder.checkpoint, ignore_errors=True)
    return record


def _live(
    planned: Planned,
    folder: RunPaths,
    settings: Settings,
    device: torch.device,
    clocks: Clocks,
    state: State,
    events: Events,
    stop: Stop,
) -> Record:
    spec = parse(RunSpec, planned.spec, "run")
    write_whole(folder.spec, to_json(dict(planned.spec)))
    parts = load(spec, folder, settings, device, clocks, events)
    optimizer = build_optimizer(parts.method, spec.recipe)
    line = timeline(spec.recipe, parts.feed.steps_per_epoch)
    examined = examine(parts, optimizer)
    if load_checkpoint(parts, optimizer, state):
        events.say("resume", step=state.step, total=line.total)
    else:
        events.say("start", step=0, total=line.total)
    with fast_matmul(device):
        train(parts, state, optimizer, line, save_every=settings.checkpoint_seconds, stop=stop)
        state.links = tuple(parts.method.links())
        tested = test(parts, state)
    with clocks.run("checkpoint"):
        keep_predictions(folder.predictions, tested.predictions)
        keep_weights(parts, folder, settings.keep)
    return done_record(planned, parts, state, line, examined, tested)


def load(
    spec: RunSpec, folder: RunPaths, settings: Settings, device: torch.device, clocks: Clocks, events: Events
) -> Parts:
    """Model, data, task and method, put together; the model's output is still that of the pretrained model."""
    seeds = Seeds(spec.seed)
    torch.manual_seed(seeds.of("init", "model"))
    loaded = load_model(spec.model, spec.dataset.task, seeds, settings.cache)
    task = build_task(spec.dataset, loaded)
    data = load_data(spec.dataset, task, loaded.processor_key, settings.cache)
    model: Any = loaded.model.to(device)
    method = build_method(spec.method, loaded.layout)
    method.attach(model, lambda *use: torch.Generator().manual_seed(seeds.of(*use)))
    if spec.recipe.gradient_checkpointing:
        checkpoint_blocks(model)
    recipe = spec.recipe
    feed = Feed(data.train, data.train.lengths, task, recipe.batch_size, recipe.accumulate, seeds)
    timer, memory = StepTimer(device), Memory(device)
    return Parts(spec, folder, loaded, model, method, task, data, feed, seeds, device, clocks, timer, memory, events)


def test(parts: Parts, state: State) -> Tested:
    """Evaluate the test split, once, at the checkpoint that validation chose (and train, where the recipe asks)."""
    assert state.best is not None, "the timeline ends with an evaluation"
    with parts.clocks.run("eval"), parts.memory.window("eval"):
        parts.method.restore(state.best.tensors, state.best.facts)
        predictions = predict_split(parts, parts.data.test)
        scores = {"test": score_split(parts, parts.data.test, predictions)}
        scores["val"] = dict(state.best.scores)
        if parts.spec.recipe.train_loss:
            scores["train"] = score_split(parts, parts.data.train)
    return Tested(scores, predictions)


@contextmanager
def _told(planned: Planned, folder: RunPaths, settings: Settings, clocks: Clocks) -> Iterator[Events]:
    """The run's events, with its tracker listening; the tracker hears how it ended, whatever happens."""
    with clocks.run("log"):
        tracker = open_tracker(planned, folder, settings)
    events = Events(folder.events, (tracker.hear,))
    try:
        yield events
    finally:
        events.close()
        tracker.close()
