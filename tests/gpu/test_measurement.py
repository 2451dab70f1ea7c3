"""Clocks, step times and memory peaks on a real device."""

import gc
import time

import pytest
import torch

from harness.measure.clocks import Clocks, StepTimer
from harness.measure.environment import provenance
from harness.measure.flops import step_flops
from harness.measure.memory import Memory
from harness.measure.memory_breakdown import measure_ledger

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
DEVICE = torch.device("cuda")
MIB = 2**20


def _work(repeats: int) -> torch.Tensor:
    """Queues kernels that take far longer to run than to queue."""
    x = torch.randn(4096, 4096, device=DEVICE)
    for _ in range(repeats):
        x = x @ x * 1e-3
    return x


def test_queued_kernels_are_billed_to_the_window_that_queued_them() -> None:
    _work(2)
    torch.cuda.synchronize()
    clocks = Clocks(DEVICE)
    with clocks.run("train"):
        _work(60)
        with clocks.run("eval"):
            time.sleep(0.001)
    seconds = clocks.seconds()
    assert seconds["train"] > 5 * seconds["eval"]
    assert sum(seconds.values()) == pytest.approx(clocks.wall(), rel=0.01)


def test_step_events_add_up_to_the_window() -> None:
    _work(2)
    timer, clocks = StepTimer(DEVICE, drop=2), Clocks(DEVICE)
    for _ in range(2):
        timer.start()
        _work(10)
        timer.stop(samples=1, tokens=1, padded_tokens=1)
    with clocks.run("train"):
        for _ in range(20):
            timer.start()
            _work(10)
            timer.stop(samples=4, tokens=8, padded_tokens=16)
    found = timer.quantities()
    assert found["step_ms_median"].n == 20
    assert sum(timer.milliseconds()) == pytest.approx(1e3 * clocks.seconds()["train"], rel=0.03)


def test_a_step_is_not_waited_for() -> None:
    _work(2)
    torch.cuda.synchronize()
    timer, started = StepTimer(DEVICE, drop=0), time.perf_counter()
    timer.start()
    _work(100)
    timer.stop(samples=1, tokens=0, padded_tokens=0)
    queued = 1e3 * (time.perf_counter() - started)
    assert queued < 0.5 * timer.milliseconds()[0]


def test_the_peak_of_a_training_window_is_a_known_allocation_and_forgets_evaluation() -> None:
    gc.collect()  # what earlier tests left must not be freed within the windows
    memory = Memory(DEVICE)
    before = torch.cuda.memory_allocated(DEVICE)
    with memory.window("train"):
        torch.empty(256 * MIB, dtype=torch.uint8, device=DEVICE)
        with memory.window("eval"):
            torch.empty(1024 * MIB, dtype=torch.uint8, device=DEVICE)
    found = {name: quantity.value for name, quantity in memory.quantities().items()}
    assert found["train_peak_allocated"] - before == 256 * MIB
    assert found["eval_peak_allocated"] - before == 1024 * MIB
    assert found["train_peak_allocated"] <= found["train_peak_reserved"] <= found["train_peak_device"]


def test_ledger_and_flops_are_those_of_a_cpu_and_leave_the_generator_alone() -> None:
    def counts(device: str) -> tuple[dict[str, float], float]:
        model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.Tanh(), torch.nn.Linear(32, 8)).to(device)
        x = torch.randn(16, 64).to(device)  # drawn on the CPU: the device's generator must not move
        optimizer = torch.optim.AdamW(model.parameters(), fused=True)

        def forward_backward() -> torch.Tensor:
            loss = model(x).sum()
            loss.backward()
            return loss

        ledger = measure_ledger(model, forward_backward, optimizer)
        return {name: found.value for name, found in ledger.items()}, step_flops(model, forward_backward).value

    state = torch.cuda.get_rng_state()
    assert counts("cuda") == counts("cpu")
    drawn = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Dropout(0.5)).to(DEVICE)
    step_flops(drawn, lambda: drawn(torch.ones(8, device=DEVICE)))
    assert torch.equal(torch.cuda.get_rng_state(), state)


def test_provenance_names_the_device_and_its_driver() -> None:
    found = provenance(DEVICE)
    assert found["device"]["name"] == torch.cuda.get_device_name() and found["cuda"] == torch.version.cuda
    assert found["fingerprint"] != provenance("cpu")["fingerprint"]
