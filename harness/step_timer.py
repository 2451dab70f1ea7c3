"""How long each optimizer step was, and how many samples and tokens went through it.

It never makes a step wait for the one before it: on CUDA each step is a pair of events that are read after the window.
"""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from harness.ledger.quantity import Measured, NotMeasured, Quantity

_SPEED = (
    "step_ms_median", "step_ms_p5", "step_ms_p95", "step_ms_mad", "samples_per_s", "tokens_per_s", "padding_share",
)  # fmt: skip


class StepTimer:
    """Milliseconds of each optimizer step. On CUDA a pair of events per step, read at the end: no step is waited for.

    The first `drop` steps of every attempt are left out: lazy initialisation, the choice of kernels, allocator growth.
    """

    def __init__(self, device: torch.device | str, drop: int = 10) -> None:
        self._device = torch.device(device)
        self._cuda = self._device.type == "cuda"
        self._drop = drop
        self._ms: list[float] = []
        self._samples = self._tokens = self._slots = 0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._started: Any = None

    def start(self) -> None:
        """Just before the first thing that belongs to the step."""
        self._started = self._mark()

    def stop(self, *, samples: int, tokens: int, slots: int) -> None:
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
        self._slots += slots

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
        found: dict[str, Quantity] = {
            "step_ms_median": Measured(median, "ms", n),
            "step_ms_p5": Measured(p5, "ms", n),
            "step_ms_p95": Measured(p95, "ms", n),
            "step_ms_mad": Measured(float(np.median(np.abs(ms - median))), "ms", n),
            "samples_per_s": Measured(self._samples / seconds, "1/s", n),
        }
        if not self._slots:
            return found | dict.fromkeys(_SPEED[-2:], NotMeasured("the task has no tokens"))
        found["tokens_per_s"] = Measured(self._tokens / seconds, "1/s", n)
        found["padding_share"] = Measured(1 - self._tokens / self._slots, "1", n)
        return found

    def state(self) -> dict[str, Any]:
        """JSON-ready; belongs into the checkpoint."""
        return {"ms": self.milliseconds(), "counts": [self._samples, self._tokens, self._slots]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint; the first steps of the new attempt are warm-up again."""
        self._ms = list(state["ms"])
        self._samples, self._tokens, self._slots = state["counts"]
