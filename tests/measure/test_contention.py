"""Times are marked when something else had the processor, by the kernel's own counters, and only then."""

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from harness.ledger.quantity import Measured, NotMeasured
from harness.measure.contention import MOST_LOST, Contention
from harness.measure.cpu_counters import CpuCounters, read_cpu_counters
from harness.measure.gpu_counters import GpuCounters, read_gpu_counters

TICK = os.sysconf("SC_CLK_TCK")
ALONE = GpuCounters(other_processes=0, slowed=False, sm_mhz=1980.0)


def plant(proc: Path, *, waits: dict[str, float], pressure: float, busy: float, stolen: float) -> CpuCounters:
    """Files as the kernel writes them, and what is read from them."""
    for thread, seconds in waits.items():
        (proc / "self/task" / thread).mkdir(parents=True, exist_ok=True)
        (proc / "self/task" / thread / "schedstat").write_text(f"5000000 {round(seconds * 1e9)} 17\n")
    (proc / "pressure").mkdir(parents=True, exist_ok=True)
    lines = f"some avg10=3.61 avg60=8.08 avg300=1.00 total={round(pressure * 1e6)}\nfull avg10=0 avg60=0 total=0\n"
    (proc / "pressure/cpu").write_text(lines)
    user = round((busy - stolen) * TICK)
    (proc / "stat").write_text(f"cpu  {user} 0 0 99999 7 0 0 {round(stolen * TICK)} 0 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
    return read_cpu_counters(proc)


def counters(wall: float, cpu: float = 0.0, wait: float = 0.0, stolen: float = 0.0) -> CpuCounters:
    return CpuCounters(wall, cpu, {"1": wait}, 0.0, wall, stolen)


def contention(*edges: CpuCounters, device: str = "cpu", gpu: tuple[GpuCounters | str, ...] = ()) -> Contention:
    """One window for each pair of edges; one reading of the GPU at the end of each."""
    readings, gpus = iter(edges), iter(gpu)
    counted = Contention(device, 1, lambda: next(readings), lambda _: next(gpus))
    for _ in range(len(edges) // 2):
        with counted.window():
            pass
    return counted


def value(counted: Contention, name: str) -> float:
    quantity = counted.quantities()[name]
    assert isinstance(quantity, Measured), quantity
    return quantity.value


def test_the_kernels_files_are_read_as_the_manual_says(tmp_path: Path) -> None:
    read = plant(tmp_path, waits={"7": 1.5, "8": 0.25}, pressure=3.0, busy=10.0, stolen=2.0)
    assert read.waits == {"7": 1.5, "8": 0.25}
    assert (read.pressure, read.busy, read.stolen) == (3.0, 10.0, 2.0)


def test_waits_of_all_threads_are_added_also_of_one_that_began_inside_the_window(tmp_path: Path) -> None:
    before = plant(tmp_path, waits={"7": 1.0, "8": 1.0}, pressure=1.0, busy=10.0, stolen=2.0)
    after = plant(tmp_path, waits={"7": 1.5, "8": 1.0, "9": 0.25}, pressure=3.0, busy=14.0, stolen=3.0)
    counted = contention(before, after)
    assert value(counted, "cpu_wait_seconds") == pytest.approx(0.75)
    assert value(counted, "cpu_steal_share") == pytest.approx(0.25)
    wall = after.wall - before.wall
    assert value(counted, "cpu_pressure_share") == pytest.approx(2.0 / wall)
    assert value(counted, "cpu_seconds") == pytest.approx(after.cpu - before.cpu)


def test_times_are_marked_above_the_stated_share_and_not_at_it() -> None:
    at = contention(counters(0), counters(100, wait=100 * MOST_LOST))
    above = contention(counters(0), counters(100, wait=100 * MOST_LOST + 1))
    assert value(at, "marked") == 0 and at.why_not_comparable() is None
    assert value(above, "marked") == 1
    assert above.why_not_comparable() == (
        "its threads waited for a CPU for 11% of the time while training (at most 10% is comparable)"
    )


def test_a_cpu_that_the_host_gave_away_marks_too() -> None:
    counted = contention(counters(0), counters(100, stolen=20))
    assert "host of this virtual machine" in str(counted.why_not_comparable())


def test_what_happens_between_windows_is_not_counted() -> None:
    counted = contention(counters(0), counters(10, cpu=9), counters(20, cpu=9, wait=10), counters(30, cpu=18, wait=10))
    assert value(counted, "cpu_wait_share") == 0
    assert value(counted, "cpu_share") == pytest.approx(18 / 20)


def test_the_time_that_threads_ran_is_a_share_of_all_their_time_and_waits_are_of_the_wall_time() -> None:
    edges = iter([counters(0), counters(10, cpu=20, wait=4)])
    counted = Contention("cpu", 4, lambda: next(edges))
    with counted.window():
        pass
    assert value(counted, "cpu_share") == pytest.approx(20 / 40)
    assert value(counted, "cpu_wait_share") == pytest.approx(4 / 10)


def test_other_processes_on_the_gpu_are_the_most_that_were_there_at_once() -> None:
    def attempt(*others: int) -> Contention:
        edges = [counters(second) for second in range(2 * len(others))]
        return contention(*edges, device="cuda", gpu=tuple(GpuCounters(n, False, 1980.0) for n in others))

    first, second = attempt(1, 3), attempt(2, 2)
    second.restore(first.state())
    assert value(first, "gpu_other_processes") == value(second, "gpu_other_processes") == 3


def test_the_counts_go_on_after_a_requeue() -> None:
    first = contention(counters(0), counters(10, wait=4), device="cuda", gpu=(GpuCounters(2, True, 1000.0),))
    second = contention(counters(0), counters(30, wait=0), device="cuda", gpu=(ALONE,))
    second.restore(first.state())
    assert value(second, "cpu_wait_share") == pytest.approx(4 / 40)
    assert value(second, "gpu_other_processes") == 2
    assert value(second, "gpu_slowed_share") == 0.5
    assert value(second, "gpu_sm_mhz") == 1490


@pytest.mark.parametrize(
    ("reading", "why"),
    [
        (GpuCounters(1, False, 1980.0), "1 other processes"),
        (GpuCounters(0, True, 900.0), "lowered its clocks"),
        (ALONE, None),
    ],
)
def test_another_process_or_lowered_clocks_on_the_gpu_mark(reading: GpuCounters, why: str | None) -> None:
    found = contention(counters(0), counters(10), device="cuda", gpu=(reading,)).why_not_comparable()
    assert found is None if why is None else why in str(found)


def test_what_a_system_cannot_tell_is_absent_with_its_reason(tmp_path: Path) -> None:
    nothing = read_cpu_counters(tmp_path)
    assert (nothing.waits, nothing.pressure, nothing.busy, nothing.stolen) == (None, None, None, None)
    counted = contention(nothing, read_cpu_counters(tmp_path), device="cuda", gpu=("NVML: not supported",))
    found = counted.quantities()
    assert isinstance(found["cpu_seconds"], Measured)
    assert isinstance(found["cpu_wait_share"], NotMeasured)
    assert found["gpu_other_processes"] == NotMeasured("NVML: not supported")
    assert {type(quantity) for quantity in Contention("cpu").quantities().values()} == {NotMeasured}


@pytest.mark.parametrize("text", ["", "1 x", "cpu  1 2-3"])
def test_garbage_in_the_kernels_files_is_no_counter(tmp_path: Path, text: str) -> None:
    plant(tmp_path, waits={"7": 1.0}, pressure=1.0, busy=1.0, stolen=0.0)
    for name in ("stat", "pressure/cpu", "self/task/7/schedstat"):
        (tmp_path / name).write_text(text)
    read = read_cpu_counters(tmp_path)
    assert (read.waits, read.pressure, read.busy) == (None, None, None)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts waits")
def test_a_thread_that_shares_its_cpu_is_marked_and_says_how_much_it_waited() -> None:
    """Two busy threads bound to one CPU: each waits while the other runs, whatever else the machine does."""
    counted = Contention("cpu", 1)
    child = os.fork()
    if child == 0:  # the hog: a process of its own, for Python's lock would make threads take turns by themselves
        try:
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
            while True:
                pass
        finally:
            os._exit(0)
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        with counted.window():
            begun = time.process_time()
            while time.process_time() - begun < 0.3:
                pass
    finally:
        os.sched_setaffinity(0, allowed)
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert value(counted, "marked") == 1
    assert value(counted, "cpu_wait_share") > 2 * MOST_LOST


def test_nvml_is_asked_about_this_very_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    nvml = SimpleNamespace(
        NVMLError=OSError,
        NVML_CLOCK_SM=1,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: asked.append(uuid) or "handle",
        nvmlDeviceGetComputeRunningProcesses=lambda handle: ["we", "another"],
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda handle: 0x4 | 0x40,
        nvmlDeviceGetClockInfo=lambda handle, kind: 1410,
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="ab-cd"))
    assert read_gpu_counters(torch.device("cuda")) == GpuCounters(1, True, 1410.0)
    assert asked == ["GPU-ab-cd"]
    nvml.nvmlDeviceGetCurrentClocksThrottleReasons = lambda handle: 0x4  # the power cap: a busy GPU is always at it
    assert read_gpu_counters(torch.device("cuda")) == GpuCounters(1, False, 1410.0)

    def refuse() -> None:
        raise OSError("Driver Not Loaded")

    nvml.nvmlInit = refuse
    assert read_gpu_counters(torch.device("cuda")) == "NVML: Driver Not Loaded"
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert read_gpu_counters(torch.device("cuda")) == "the package nvidia-ml-py is not installed"
