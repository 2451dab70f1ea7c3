"""Two processes, started once, that do runs together; and the same runs by this process alone."""

import multiprocessing
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from harness.config.resolve import Resolver
from harness.config.settings import Settings, settings_from
from harness.execution.rank import OutcomeStore
from harness.execution.ranks import outcome_file
from harness.ledger.plan import Planned
from harness.ledger.record import read_record
from harness.ledger.store import Store
from harness.planning.plan import plan_one, read_request
from harness.training.context import Stopped
from harness.training.run import run_one
from harness.training.world import ALONE, World

RESOLVER = Resolver()


@dataclass(frozen=True)
class Ask:
    """A run in a store, by some processes, until `steps` are done (None: to its end)."""

    store: Path
    words: tuple[str, ...]
    kind: str = "ddp"
    steps: int | None = None


def planned_of(ask: Ask) -> tuple[Planned, Settings]:
    request = read_request([*ask.words, f"runs={ask.store}", "tracker=none", "device=cpu"])
    return plan_one(request, RESOLVER), settings_from(request.config)


def do(ask: Ask, world: World = ALONE, given: tuple[Planned, Settings] | None = None) -> Any:
    """The record; None of one that was stopped."""
    planned, settings = given or planned_of(ask)
    store = Store(ask.store) if world.size == 1 else OutcomeStore(ask.store, world.rank)
    steps, asked = ask.steps, iter(range(10_000))
    stop = (lambda: False) if steps is None else (lambda: next(asked) >= steps)
    try:
        return run_one(planned, store, settings, stop=stop, world=world)
    except Stopped:
        return None


def _process(rank: int, folder: Path, asks: Any, answers: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    while (asked := asks.get()) is not None:
        ask, given = asked
        try:
            record = do(ask, World(rank, 2, ask.kind), given)
            answers.put((rank, record and record.id, None))
        except Exception as error:
            answers.put((rank, None, f"{traceback.format_exc()}\n{type(error).__name__}"))
    dist.destroy_process_group()


class Pair:
    """Forked, so that nothing is imported anew."""

    def __init__(self, folder: Path) -> None:
        fork = multiprocessing.get_context("fork")
        self._answers: Any = fork.Queue()
        self._asks = [fork.Queue() for _ in range(2)]
        args = [(rank, folder, asks, self._answers) for rank, asks in enumerate(self._asks)]
        self.processes = [fork.Process(target=_process, args=each, daemon=True) for each in args]
        for process in self.processes:
            process.start()

    def do(self, ask: Ask) -> Any:
        """As `do`, by both; the record that the first one leaves for the process that started them."""
        self.ask(ask)
        answers = [self.answer() for _ in range(2)]
        assert not [why for _, _, why in answers if why], "\n".join(why for _, _, why in answers if why)
        run_id = next((run for _, run, _ in answers if run), None)
        return read_record(outcome_file(ask.store / run_id, 0)) if run_id else None

    def ask(self, ask: Ask | None) -> None:
        asked = None if ask is None else (ask, planned_of(ask))  # composed once, here
        for asks in self._asks:
            asks.put(asked)

    def answer(self) -> tuple[int, str | None, str | None]:
        """The next one's rank, its run, and how it ended in an error."""
        return self._answers.get(timeout=120)

    def end(self) -> None:
        self.ask(None)
        for process in self.processes:
            process.join(20)
