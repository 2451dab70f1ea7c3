"""When a run spent its time: five clocks that add up, and how long each optimizer step was.

The device is waited for at the edges of a window and never inside one: on CUDA each step is a pair of events, which are
read after the window. (Memory: `harness.measure.memory`.)
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from harness.ledger.errors import SpecError
from harness.ledger.quantity import Measured, NotMeasured, Quantity
from harness.ledger.record import CLOCKS

_SPEED = (
    "step_ms_median", "step_ms_p5", "step_ms_p95", "step_ms_mad", "samples_per_s", "tokens_per_s", "padding_share",
)  # fmt: skip


def pick_device(wanted: str) -> torch.device:
    """`auto`: the GPU where there is one. Raises SpecError for "cuda" where PyTorch sees none."""
    has_cuda = torch.cuda.is_available()
    if wanted == "cuda" and not has_cuda:
        raise SpecError(f"device=cuda: PyTorch {torch.__version__} sees no CUDA device here; use device=cpu or auto.")
    return torch.device("cuda" if has_cuda and wanted != "cpu" else "cpu")


def synchronise(device: torch.device) -> None:
    """Wait until the kernels that are queued on `device` have run; nothing to do on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Clocks:
    """Five disjoint clocks (seconds) that add up to the wall time: starting one pauses the one around it.

    Time that no `run` names belongs to "setup". Both edges of a window wait for the device, so that queued kernels are
    billed to the window that queued them; a window per step would therefore slow training down.
    """

    def __init__(self, device: torch.device | str, now: Callable[[], float] = time.perf_counter) -> None:
        self._device = torch.device(device)
        self._now = now
        self._seconds: dict[str, float] = dict.fromkeys(CLOCKS, 0.0)
        self._stack = ["setup"]
        self._failed_in: str | None = None
        self._wasted = 0.0
        self._one_off = False
        self._earlier_wall = 0.0  # of the attempts before this one
        self._start = self._last = now()

    @contextmanager
    def run(self, clock: str) -> Iterator[None]:
        """Bill what happens inside to `clock`, one of `harness.ledger.record.CLOCKS` (KeyError otherwise)."""
        if clock not in self._seconds:
            raise KeyError(f"{clock}: the clocks are {', '.join(CLOCKS)}")
        self._switch()
        self._stack.append(clock)
        try:
            yield
        except BaseException:
            self._failed_in = self._failed_in or clock
            raise
        finally:
            self._switch()
            self._stack.pop()

    @property
    def phase(self) -> str:
        """The clock that runs now."""
        return self._stack[-1]

    @property
    def failed_in(self) -> str:
        """The innermost clock that an exception left: the phase that a failure names."""
        return self._failed_in or self.phase

    def _switch(self) -> None:
        synchronise(self._device)
        now = self._now()
        self._seconds[self._stack[-1]] += now - self._last
        self._last = now

    def seconds(self) -> dict[str, float]:
        """Each clock until now, without waiting for the device: exact between windows."""
        return self._seconds | {self.phase: self._seconds[self.phase] + self._now() - self._last}

    def wall(self) -> float:
        """Seconds of all attempts; the queue between them and the work that a restart lost are not in it."""
        return self._earlier_wall + self._now() - self._start

    def set_up_is_the_workers(self) -> None:
        """The process pays in this run's set-up for what later runs find ready: it is no cost of the run."""
        self._one_off = True

    def quantities(self) -> dict[str, Quantity]:
        """`Record.seconds`: the five clocks, `wall` (their sum), `train_wasted` and `worker_setup`.

        `setup` is absent where it is the worker's: then `worker_setup` holds it, and `wall` does not.
        """
        seconds = self.seconds() | {"wall": self.wall(), "train_wasted": self._wasted}
        quantities: dict[str, Quantity] = {name: Measured(value, "s") for name, value in seconds.items()}
        if not self._one_off:
            return quantities | {"worker_setup": NotMeasured("an earlier run of this worker paid for it")}
        return quantities | {
            "setup": NotMeasured(
                "the first run here of its model or dataset, or one that packed its base: see worker_setup, "
                "paid once by the worker"
            ),
            "wall": Measured(seconds["wall"] - seconds["setup"], "s"),
            "worker_setup": Measured(seconds["setup"], "s"),
        }

    def state(self) -> dict[str, Any]:
        """JSON-ready; belongs into the checkpoint."""
        return {
            "seconds": self.seconds(),
            "wall": self.wall(),
            "train_wasted": self._wasted,
            "one_off": self._one_off,
        }

    def restore(self, state: Mapping[str, Any], last_seen_train: float | None = None) -> None:
        """Go on from a checkpoint; what this attempt has spent so far is kept.

        `last_seen_train`: the train clock as the attempt before last reported it (its events); what exceeds the
        checkpoint's own reading was lost, and is added to `train_wasted`.
        """
        for clock, value in state["seconds"].items():
            self._seconds[clock] += value
        self._earlier_wall += state["wall"]
        self._one_off = self._one_off or state.get("one_off", False)  # earlier versions saved none
        lost = 0.0 if last_seen_train is None else max(0.0, last_seen_train - state["seconds"]["train"])
        self._wasted += state["train_wasted"] + lost


class StepTimer:
    """Milliseconds of each optimizer step. On CUDA a pair of events per step, read at the end: no step is waited for.

    The first `drop` steps of every attempt are left out: lazy initialisation, the choice of kernels, allocator growth.
    """

    def __init__(self, device: torch.device | str, drop: int = 10) -> None:
        self._device = torch.device(device)
        self._cuda = self._device.type == "cuda"
        self._drop = drop
        self._ms: list[float] = []
        self._samples = self._tokens = self._padded_tokens = 0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._started: Any = None

    def start(self) -> None:
        """Just before the first thing that belongs to the step."""
        self._started = self._mark()

    def stop(self, *, samples: int, tokens: int, padded_tokens: int) -> None:
        """Just after the last. `tokens` are those that are not padding, `slots` all of them."""
        end = self._mark()
        if self._drop > 0:
            self._drop -= 1
            return
        if self._cuda:
            self._events.append((self._started, end))
        else:
            self._ms.append(1e3 * (end - self._started))
        self._samples += samples
        self._tokens += tokens
        self._padded_tokens += padded_tokens

    def _mark(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    def milliseconds(self) -> list[float]:
        """Every kept step. Waits for the last of them: to be called between windows."""
        if self._events:
            self._events[-1][1].synchronize()
            self._ms += [start.elapsed_time(end) for start, end in self._events]
            self._events = []
        return list(self._ms)

    def quantities(self) -> dict[str, Quantity]:
        """`Record.speed`. The deviation is the median of |step − median|, unscaled."""
        ms = np.array(self.milliseconds())
        if not len(ms):
            why = NotMeasured("no steps were left after the warm-up steps that are not timed")
            return dict.fromkeys(_SPEED, why)
        n, seconds = len(ms), float(ms.sum()) / 1e3
        median, p5, p95 = (float(v) for v in np.percentile(ms, (50, 5, 95)))
        speed: dict[str, Quantity] = {
            "step_ms_median": Measured(median, "ms", n),
            "step_ms_p5": Measured(p5, "ms", n),
            "step_ms_p95": Measured(p95, "ms", n),
            "step_ms_mad": Measured(float(np.median(np.abs(ms - median))), "ms", n),
            "samples_per_s": Measured(self._samples / seconds, "1/s", n),
        }
        if not self._padded_tokens:
            return speed | dict.fromkeys(_SPEED[-2:], NotMeasured("the task has no tokens"))
        speed["tokens_per_s"] = Measured(self._tokens / seconds, "1/s", n)
        speed["padding_share"] = Measured(1 - self._tokens / self._padded_tokens, "1", n)
        return speed

    def state(self) -> dict[str, Any]:
        """JSON-ready; belongs into the checkpoint."""
        return {"ms": self.milliseconds(), "counts": [self._samples, self._tokens, self._padded_tokens]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint; the first steps of the new attempt are warm-up again."""
        self._ms = list(state["ms"])
        self._samples, self._tokens, self._padded_tokens = state["counts"]
