"""One supervisor for every launcher: start workers, watch them, count deaths, leave alone what kills its worker."""

import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from harness.execution.queue import DEATHS_OF_A_RUN, held_by, is_settled
from harness.execution.worker import how_it_ended
from harness.ledger.store import Store

Worker = subprocess.Popen[bytes]
Start = Callable[[int, Sequence[str]], Worker]  # the worker's number, and the ids it works through


@dataclass(frozen=True)
class Death:
    """A worker that a signal ended, the runs it held, and those that are left alone from now on."""

    pid: int
    how: str  # the signal
    held: tuple[str, ...]
    given_up: tuple[str, ...]

    def __str__(self) -> str:
        guess = " (the kernel does that to a process when memory runs out)" if self.how == "SIGKILL" else ""
        left = f"; {', '.join(self.given_up)} killed {DEATHS_OF_A_RUN} workers and is left alone" * bool(self.given_up)
        return f"worker {self.pid} died of {self.how}{guess} while it ran {', '.join(self.held) or 'nothing yet'}{left}"


def signal_name(number: int) -> str:
    """`SIGKILL`; a real-time signal has no name of its own in Python: `signal 40`."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@dataclass
class Supervisor:
    """Workers over one list of runs. One that is killed is replaced as long as a run is left that it may do."""

    ids: Sequence[str]
    store: Store
    start: Start
    on_death: Callable[[Death], None]
    workers: list[Worker] = field(default_factory=list)
    deaths: Counter[str] = field(default_factory=Counter)
    codes: list[int] = field(default_factory=list)  # of the workers that have ended; negative: the signal

    def begin(self, count: int) -> None:
        """Start the workers."""
        for number in range(count):
            self.workers.append(self.start(number, self.ids))

    def watch(self) -> bool:
        """Replace the killed; False once every worker has ended."""
        for number, worker in enumerate(self.workers):
            if (code := worker.poll()) is None or worker.pid in self._ended:
                continue
            self._ended.add(worker.pid)
            self.codes.append(how_it_ended(code))
            if self.codes[-1] < 0:
                self._replace(number, worker)
        return any(worker.pid not in self._ended for worker in self.workers)

    def _replace(self, number: int, worker: Worker) -> None:
        pending = [run_id for run_id in self.ids if not is_settled(self.store, run_id)]
        held = held_by(worker.pid, pending, self.store)
        self.deaths.update(held or pending)  # it died before its first run: without a culprit there would be no end
        given_up = tuple(run_id for run_id in held if self.deaths[run_id] >= DEATHS_OF_A_RUN)
        self.on_death(Death(worker.pid, signal_name(-self.codes[-1]), tuple(held), given_up))
        if rest := [run_id for run_id in pending if self.deaths[run_id] < DEATHS_OF_A_RUN]:
            self.workers[number] = self.start(number, rest)

    def __post_init__(self) -> None:
        self._ended: set[int] = set()
