"""Whether a run had its processor to itself while it trained, and when its times may not be compared.

Read at the edges of training windows, never once per step. Scores, FLOPs and the ledger do not depend on any of it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness.ledger.quantity import Measured, NotMeasured, Quantity
from harness.measure.cpu_counters import CpuCounters, read_cpu_counters
from harness.measure.gpu_counters import GpuCounters, read_gpu_counters

if TYPE_CHECKING:  # the words of a probe and of a record are read without torch
    import torch

# A thread that waits for a CPU a tenth of the time is a tenth slower or more, as much as methods differ by. A worker
# with a core to itself waits well under a twentieth of the time (the launcher, the kernel's own threads); one that
# shares its core with one busy program waits for half.
MOST_LOST = 0.10
_UNITS = {
    "cpu_seconds": "s", "cpu_share": "1", "cpu_wait_seconds": "s", "cpu_wait_share": "1", "cpu_steal_share": "1",
    "cpu_pressure_share": "1", "gpu_other_processes": "process", "gpu_slowed_share": "1", "gpu_sm_mhz": "MHz",
    "marked": "1",
}  # fmt: skip


class Contention:
    """Sums over all training windows of all attempts of a run."""

    def __init__(
        self,
        device: "torch.device | str",
        threads: int | None = None,
        read_cpu: Callable[[], CpuCounters] = read_cpu_counters,
        read_gpu: "Callable[[torch.device], GpuCounters | str]" = read_gpu_counters,
    ) -> None:
        import torch

        self._device = torch.device(device)
        self._threads = threads or torch.get_num_threads()
        self._read_cpu, self._read_gpu = read_cpu, read_gpu
        self._sums: dict[str, float] = {}
        self._gpu_why = f"the run was on a {self._device.type.upper()}"

    @contextmanager
    def window(self) -> Iterator[None]:
        """What happens inside is training."""
        before = self._read_cpu()
        try:
            yield
        finally:
            self._add_cpu(before, self._read_cpu())
            if self._device.type == "cuda":
                self._add_gpu(self._read_gpu(self._device))

    def _add_cpu(self, before: CpuCounters, after: CpuCounters) -> None:
        self._add("wall", after.wall - before.wall)
        self._add("cpu", after.cpu - before.cpu)
        if before.waits is not None and after.waits is not None:
            # A thread that began inside the window counts from its beginning; one that ended has taken its count along.
            self._add("wait", sum(wait - before.waits.get(thread, 0.0) for thread, wait in after.waits.items()))
        for name in ("pressure", "busy", "stolen"):
            old, new = getattr(before, name), getattr(after, name)
            if old is not None and new is not None:
                self._add(name, new - old)

    def _add_gpu(self, reading: GpuCounters | str) -> None:
        if isinstance(reading, str):
            self._gpu_why = reading
            return
        self._add("gpu_readings", 1)
        self._add("gpu_slowed", reading.slowed)
        self._add("gpu_mhz", reading.sm_mhz)
        self._sums["gpu_others"] = max(reading.other_processes, self._sums.get("gpu_others", 0))

    def _add(self, name: str, amount: float) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + amount

    def quantities(self) -> dict[str, Quantity]:
        """`Record.contention`. Shares are of the wall time of training; `cpu_steal_share` of the machine's busy time.

        cpu_seconds: of all threads of the process. cpu_share: of the time that its computing threads had together.
        cpu_wait_share: time that threads were ready and waited for a CPU, summed over threads, so it may exceed 1.
        cpu_pressure_share: some task of the whole machine waited. marked: 1 when times may not be compared, else 0.
        """
        values = self._values()
        if self._sums.get("wall", 0.0) > 0:
            values["marked"] = float(why_not_comparable(values) is not None)
        return {name: self._quantity(name, values.get(name)) for name in _UNITS}

    def why_not_comparable(self) -> str | None:
        """A sentence when the run's times may not be compared with others', else None."""
        return why_not_comparable(self._values())

    def _values(self) -> dict[str, float]:
        sums = self._sums
        if not sums.get("wall"):
            return {}
        wall, busy, readings = sums["wall"], sums.get("busy"), sums.get("gpu_readings")
        values = {"cpu_seconds": sums["cpu"], "cpu_share": sums["cpu"] / (wall * self._threads)}
        if "wait" in sums:
            values |= {"cpu_wait_seconds": sums["wait"], "cpu_wait_share": sums["wait"] / wall}
        if "pressure" in sums:
            values["cpu_pressure_share"] = sums["pressure"] / wall
        if busy:
            values["cpu_steal_share"] = sums["stolen"] / busy
        if readings:
            values["gpu_other_processes"] = sums["gpu_others"]
            values["gpu_slowed_share"] = sums["gpu_slowed"] / readings
            values["gpu_sm_mhz"] = sums["gpu_mhz"] / readings
        return values

    def _quantity(self, name: str, value: float | None) -> Quantity:
        if value is not None:
            return Measured(value, _UNITS[name])
        if not self._sums.get("wall"):
            return NotMeasured("no train window was opened")
        return NotMeasured(self._gpu_why if name.startswith("gpu_") else "this system has no such counter (Linux has)")

    def state(self) -> dict[str, float]:
        """JSON-ready; belongs into the checkpoint."""
        return dict(self._sums)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint: earlier windows stay in the sums."""
        others = max(self._sums.get("gpu_others", 0.0), state.get("gpu_others", 0.0))
        for name, amount in state.items():
            self._add(name, amount)
        if "gpu_others" in state:
            self._sums["gpu_others"] = others


def why_not_comparable(values: Mapping[str, float]) -> str | None:
    """The first reason why times of a run or of a probe's entrant may not be compared, from its counts by name."""
    for name, what in (
        ("cpu_wait_share", "its threads waited for a CPU"),
        ("cpu_steal_share", "the host of this virtual machine gave its CPU to others"),
    ):
        if (share := values.get(name, 0.0)) > MOST_LOST:
            return f"{what} for {share:.0%} of the time while training (at most {MOST_LOST:.0%} is comparable)"
    if others := values.get("gpu_other_processes"):
        return f"{others:.0f} other processes were on the GPU while it trained"
    if share := values.get("gpu_slowed_share"):
        return f"the GPU had lowered its clocks, for heat or for want of power, in {share:.0%} of the readings"
    return None
