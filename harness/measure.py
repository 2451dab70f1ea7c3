"""When a run spent its time, and how much memory its training windows needed at their peak.

The only reader of memory counters. Nothing here runs once per step: no garbage is collected, no cache is emptied and no
device is waited for inside a window, and a current value after `optimizer.step()` is never taken for a peak.
(The steps within a window: `harness.step_timer`.)
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from harness.ledger.quantity import Measured, NotMeasured, Quantity
from harness.ledger.record import CLOCKS


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

    def quantities(self) -> dict[str, Quantity]:
        """`Record.seconds`: the five clocks, `wall` and `train_wasted`."""
        found = self.seconds() | {"wall": self.wall(), "train_wasted": self._wasted}
        return {name: Measured(value, "s") for name, value in found.items()}

    def state(self) -> dict[str, Any]:
        """JSON-ready; belongs into the checkpoint."""
        return {"seconds": self.seconds(), "wall": self.wall(), "train_wasted": self._wasted}

    def restore(self, state: Mapping[str, Any], last_seen_train: float | None = None) -> None:
        """Go on from a checkpoint; what this attempt has spent so far is kept.

        `last_seen_train`: the train clock as the attempt before last reported it (its events); what exceeds the
        checkpoint's own reading was lost, and is added to `train_wasted`.
        """
        for clock, value in state["seconds"].items():
            self._seconds[clock] += value
        self._earlier_wall += state["wall"]
        lost = 0.0 if last_seen_train is None else max(0.0, last_seen_train - state["seconds"]["train"])
        self._wasted += state["train_wasted"] + lost


class Peak:
    """Peak memory (bytes) of all "train" windows and of all "eval" windows, each on its own.

    A window opened inside another one pauses it, as with the clocks. Peak RSS is that of the process (libraries and
    other runs in it included), so the RSS at the start of the first window is kept beside it. PyTorch keeps no peak of
    the memory in use on the device (other processes included): that is read when a window ends.
    """

    def __init__(self, device: torch.device | str) -> None:
        self._device = torch.device(device)
        self._bytes: dict[str, int] = {}
        self._stack: list[str] = []
        self._why_no_rss = _why_no_rss()

    @contextmanager
    def run(self, window: str) -> Iterator[None]:
        """`window` is "train" or "eval"."""
        self._close()
        self._stack.append(window)
        self._open()
        try:
            yield
        finally:
            self._close()
            self._stack.pop()
            self._open()

    def _open(self) -> None:
        if not self._stack:
            return
        if self._device.type == "cuda":
            synchronise(self._device)
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
        if self._why_no_rss is None:
            self._bytes.setdefault(f"{self._stack[-1]}_start_rss", _status_bytes("VmRSS"))
            _reset_peak_rss()

    def _close(self) -> None:
        if not self._stack:
            return
        window = self._stack[-1]
        if self._device.type == "cuda":
            synchronise(self._device)
            free, total = torch.cuda.mem_get_info(self._device)
            self._raise(f"{window}_peak_allocated", torch.cuda.max_memory_allocated(self._device))
            self._raise(f"{window}_peak_reserved", torch.cuda.max_memory_reserved(self._device))
            self._raise(f"{window}_peak_device", total - free)
        if self._why_no_rss is None:
            self._raise(f"{window}_peak_rss", _status_bytes("VmHWM"))

    def _raise(self, name: str, value: int) -> None:
        self._bytes[name] = max(value, self._bytes.get(name, 0))

    def quantities(self) -> dict[str, Quantity]:
        """`Record.memory`: train_… and eval_…: start_rss, peak_rss, peak_allocated, peak_reserved, peak_device."""
        names = [f"{window}_{kind}" for window in ("train", "eval") for kind in _MEMORY]
        return {name: self._quantity(name) for name in names}

    def _quantity(self, name: str) -> Quantity:
        if name in self._bytes:
            return Measured(self._bytes[name], "byte")
        if name.endswith("_rss") and self._why_no_rss is not None:
            return NotMeasured(self._why_no_rss)
        if not name.endswith("_rss") and self._device.type != "cuda":
            return NotMeasured(f"the run was on a {self._device.type.upper()}, which has no such counter")
        return NotMeasured(f"no {name.split('_')[0]} window was opened")

    def state(self) -> dict[str, int]:
        """JSON-ready; belongs into the checkpoint."""
        return dict(self._bytes)

    def restore(self, state: Mapping[str, int]) -> None:
        """Go on from a checkpoint: the maximum over the windows of all attempts."""
        for name, value in state.items():
            self._raise(name, value)


_MEMORY = ("start_rss", "peak_rss", "peak_allocated", "peak_reserved", "peak_device")


def _reset_peak_rss() -> None:
    Path("/proc/self/clear_refs").write_text("5")  # man 5 proc: resets VmHWM to the current resident set


def _why_no_rss() -> str | None:
    try:
        _reset_peak_rss()
    except OSError as error:
        return f"this system cannot reset the peak resident set of a process (/proc/self/clear_refs: {error.strerror})"
    return None


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"/proc/self/status has no {field}")
