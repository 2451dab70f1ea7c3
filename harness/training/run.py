"""The story of one run, to be read aloud: load, attach, train, select, test, record."""

import os
import shutil
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from harness.config.settings import Settings
from harness.data.load import Encoder, load_data
from harness.ledger.errors import NodeError
from harness.ledger.events import Events
from harness.ledger.identity import canonical
from harness.ledger.parse import parse
from harness.ledger.paths import RunPaths, set_aside, to_json, write_whole
from harness.ledger.plan import Planned
from harness.ledger.record import Record
from harness.ledger.seeds import Seeds
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store
from harness.measure.clocks import Clocks, StepTimer, pick_device
from harness.measure.contention import Contention
from harness.measure.cpu_matmul import fast_matmul
from harness.measure.memory import Memory
from harness.measure.process_history import begin_run, why_shared
from harness.models.checkpointing import checkpoint_blocks
from harness.models.kept_base import forget_base, keeps_base
from harness.models.load import load_model
from harness.models.loaded import with_room_for
from harness.tasks.build import build as build_task
from harness.trackers.open import open_tracker
from harness.training.artifacts import save_predictions, save_weights
from harness.training.checkpoint import UnreadableCheckpoint, load_checkpoint
from harness.training.context import RunContext, Stop, TrainState
from harness.training.failures import failure_of, is_node_trouble, message_of
from harness.training.loader import DataLoader
from harness.training.loop import predict_split, score_split, train
from harness.training.optimizer import build_optimizer
from harness.training.procedures.bilevel import with_search
from harness.training.record import TestResult, done_record, failed_record, profile_first_step, summary
from harness.training.schedule import train_schedule
from harness.training.sharding import attach
from harness.training.source import start_from_source
from harness.training.world import ALONE, World
from methods.build import build as build_method
from methods.library_types import prompt_length
from methods.training import Training


def run_one(
    planned: Planned, store: Store, settings: Settings, *, stop: Stop = lambda: False, world: World = ALONE
) -> Record:
    """Do the run and write its record, which is also returned. A run that fails has a record that says so.

    world: the processes that do it together, each of which calls this; `store` then is one for each of them.
    Raises Stopped when `stop()` asked for an end: a checkpoint is left and no record; the same call goes on from it.
    Raises KeyboardInterrupt after it was recorded, and NodeError when the machine is to blame (a full disk, data
    that is not here): no record then, and the same call takes the run up again.
    """
    folder = store.paths(planned.id)
    folder.folder.mkdir(parents=True, exist_ok=True)
    clocks, state = Clocks(device := pick_device(settings.device)), TrainState()
    with _event_log(planned, folder, settings, clocks, world) as events:
        try:
            record = _live(planned, folder, settings, device, clocks, state, events, stop, world)
        except (Exception, KeyboardInterrupt) as error:  # broad: whatever went wrong becomes a record
            if is_node_trouble(error):
                _log_trouble(error, events)
                raise NodeError(message_of(error)) from error
            failure = failure_of(error, clocks.failed_in, state.step)
            if failure.kind == "oom":
                forget_base()
            record = failed_record(planned, failure, clocks, state, device, world)
        store.write(record)
        events.emit("end" if record.status == "done" else "failed", **summary(record))
    if record.failure is not None and record.failure.kind == "interrupt":
        raise KeyboardInterrupt
    if record.status == "done" and world.size == 1:  # else its record is not in the store yet
        shutil.rmtree(folder.checkpoint, ignore_errors=True)
    return record


def _live(
    planned: Planned,
    folder: RunPaths,
    settings: Settings,
    device: torch.device,
    clocks: Clocks,
    state: TrainState,
    events: Events,
    stop: Stop,
    world: World,
) -> Record:
    spec = parse(RunSpec, planned.spec, "run")
    if world.first:
        write_whole(folder.spec, to_json(dict(planned.spec)))
    if begin_run(canonical(spec.model), canonical(spec.dataset), _library(spec)):
        clocks.set_up_is_the_workers()
    context = load(spec, folder, settings, device, clocks, events, world)
    if planned.source:
        context = replace(context, source=RunPaths(folder.folder.with_name(planned.source)).adapter)
        start_from_source(context)
    schedule = train_schedule(spec.recipe, context.loader.steps_per_epoch)
    context, schedule = with_search(context, schedule)
    context.method.begin(Training(schedule.total, schedule.steps_per_epoch, spec.recipe.lr))
    profile = profile_first_step(context, optimizer := build_optimizer(context.method, spec.recipe))
    resumed, why = _resumed(context, state)
    if any(whys := world.gather(why)):  # the model may hold half of it: from the beginning, with a new one
        if why is None:
            raise NodeError(f"another process of the run cannot read the checkpoint that this one has read: {whys}")
        _leave_checkpoint(context, why)
        return _live(planned, folder, settings, device, clocks, state, events, stop, world)
    optimizer = resumed or optimizer
    events.emit("start" if resumed is None else "resume", step=state.step, total=schedule.total)
    with fast_matmul(device):
        train(context, state, optimizer, schedule, save_every=settings.checkpoint_seconds, stop=stop)
        state.links = tuple(context.method.history())
        if settings.keep_last:
            with clocks.run("checkpoint"):
                save_weights(context, folder.last, settings.keep)
        tested = test(context, state)
    with clocks.run("checkpoint"):
        if world.first:
            save_predictions(folder.predictions, tested.predictions)
        save_weights(context, folder.adapter, settings.keep)
    return done_record(planned, context, state, schedule, profile, tested)


def _resumed(context: RunContext, state: TrainState) -> tuple[torch.optim.Optimizer | None, str | None]:
    """The optimizer of the checkpoint, where there is one; or why it cannot be used."""
    try:
        return load_checkpoint(context, state), None
    except UnreadableCheckpoint as error:
        return None, str(error)


def _leave_checkpoint(context: RunContext, why: str) -> None:
    """Out of the way, by one process; the others wait for that."""
    if context.world.first:
        run, kept = context.folder.id, set_aside(context.folder.checkpoint)
        print(f"{run}: its checkpoint cannot be used ({why}); kept as {kept.name}, the run starts anew")
        context.events.emit("aside", path=kept.name, why=why)
    context.world.any(True)


def _library(spec: RunSpec) -> str:
    """What a method imports beside the rest: the peft library takes seconds."""
    return "peft" if spec.method.update.kind == "peft" else "torch"


def load(
    spec: RunSpec,
    folder: RunPaths,
    settings: Settings,
    device: torch.device,
    clocks: Clocks,
    events: Events,
    world: World = ALONE,
) -> RunContext:
    """Model, data, task and method, put together; the model's output is still that of the pretrained model."""
    seeds = Seeds(spec.seed)
    torch.manual_seed(seeds.of("init", "model"))
    loaded = load_model(spec.model, spec.dataset.task, seeds, settings.cache)
    if spec.model.quantization and not loaded.shared:  # for runs that have it packed already, this is no set-up
        clocks.set_up_is_the_workers()
    loaded = with_room_for(loaded, prompt_length(spec.method.update))
    task = build_task(spec.dataset, loaded)
    data = load_data(spec.dataset, Encoder(task.encode, task.length, loaded.processor_key), settings.cache)
    sharded = world.kind == "fsdp"
    model: Any = loaded.model if sharded else loaded.model.to(device)  # one process may have no room for all of it
    method = build_method(spec.method, replace(loaded.layout, writable=not sharded))
    trains_all = spec.method.update.kind == "full" if sharded else None
    attach(method, model, lambda *use: torch.Generator().manual_seed(seeds.of(*use)), trains_all, device)
    if spec.recipe.gradient_checkpointing:
        checkpoint_blocks(model)
    loader = DataLoader(data.train, data.train.lengths, task, spec.recipe.batch_size, spec.recipe.accumulate, seeds)
    timer, memory, contention = StepTimer(device), Memory(device, why_shared(keeps_base())), Contention(device)
    return RunContext(
        spec,
        folder,
        loaded,
        model,
        method,
        task,
        data,
        loader,
        seeds,
        device,
        clocks,
        timer,
        memory,
        contention,
        events,
        world=world,
    )


def test(context: RunContext, state: TrainState) -> TestResult:
    """Evaluate the test split, once, at the checkpoint that validation chose (and train, where the recipe asks)."""
    assert state.best is not None, "the timeline ends with an evaluation"
    with context.clocks.run("eval"), context.memory.window("eval"):
        context.method.restore(context.scattered(state.best.tensors), state.best.facts)
        predictions = predict_split(context, context.data.test)
        scores = {"test": score_split(context, context.data.test, predictions)}
        scores["val"] = dict(state.best.scores)
        if context.spec.recipe.train_loss:
            scores["train"] = score_split(context, context.data.train)
    return TestResult(scores, predictions)


def _log_trouble(error: BaseException, events: Events) -> None:
    """Why there is no record, where a person looks first; a full disk may have no room for it."""
    traceback.print_exception(error)
    with suppress(OSError):
        events.emit("trouble", message=message_of(error))


@contextmanager
def _event_log(
    planned: Planned, folder: RunPaths, settings: Settings, clocks: Clocks, world: World
) -> Iterator[Events]:
    """The run's events, with its tracker listening; the tracker hears how it ended, whatever happens.

    Of several processes the first one's alone are kept.
    """
    if not world.first:
        with closing(Events(Path(os.devnull))) as events:
            yield events
        return
    with clocks.run("log"):
        tracker = open_tracker(planned, folder, settings)
    events = Events(folder.events, (tracker.on_event,))
    try:
        yield events
    finally:
        events.close()
        tracker.close()
