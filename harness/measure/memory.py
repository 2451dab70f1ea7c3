"""Peak memory of the training windows alone, and of the evaluation windows alone.

The only reader of memory counters. CPU: the peak resident set of the process, reset at the start of each window (Linux
only; `ru_maxrss` is inherited across exec). CUDA: what PyTorch allocated and reserved at its peak, and what is in use
on the device as a window ends. A current value after `optimizer.step()` is never taken for a peak, and nothing here
runs once per step.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from harness.ledger.quantity import Measured, NotMeasured, Quantity
from harness.measure.clocks import synchronise

_COUNTERS = ("start_rss", "peak_rss", "peak_allocated", "peak_reserved", "peak_device")


class Memory:
    """Peak memory (bytes) of all "train" windows and of all "eval" windows, each on its own.

    A window opened inside another one pauses it, as with the clocks. Peak RSS is that of the process (libraries and
    other runs in it included), so the RSS at the start of the first window is kept beside it. PyTorch keeps no peak of
    the memory in use on the device (other processes included): that is read when a window ends.
    """

    def __init__(self, device: torch.device | str, why_no_rss: str | None = None) -> None:
        """why_no_rss: why the resident set of the process would not be that of its present work."""
        self._device = torch.device(device)
        self._bytes: dict[str, int] = {}
        self._stack: list[str] = []
        self._why_no_rss = why_no_rss or _why_no_rss()

    @contextmanager
    def window(self, name: str) -> Iterator[None]:
        """`name` is "train" or "eval"."""
        self._close()
        self._stack.append(name)
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
        names = [f"{window}_{kind}" for window in ("train", "eval") for kind in _COUNTERS]
        return {name: self._quantity(name) for name in names}

    def _quantity(self, name: str) -> Quantity:
        if name.endswith("_rss") and self._why_no_rss is not None:
            return NotMeasured(self._why_no_rss)
        if name in self._bytes:
            return Measured(self._bytes[name], "byte")
        if not name.endswith("_rss") and self._device.type != "cuda":
            return NotMeasured(f"the run was on a {self._device.type.upper()}, which has no such counter")
        return NotMeasured(f"no {name.split('_')[0]} window was opened")

    def state(self) -> dict[str, Any]:
        """JSON-ready; belongs into the checkpoint."""
        return {**self._bytes, "why_no_rss": self._why_no_rss}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint: the maximum over the windows of all attempts, where all of them have it."""
        for name, value in state.items():
            if name == "why_no_rss":
                self._why_no_rss = self._why_no_rss or value
            else:
                self._raise(name, value)


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
