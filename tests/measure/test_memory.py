"""Peaks of the training windows forget the evaluation, and a missing counter is a reason."""

import mmap
import os
from pathlib import Path

import pytest

from harness.ledger.quantity import NotMeasured
from harness.measure.memory import Memory, _status_bytes

MIB = 2**20


def _touch(mib: int) -> None:
    """Pages of its own from the system, written and given back: a heap may have resident ones to spare."""
    with mmap.mmap(-1, mib * MIB) as pages:
        for _ in range(mib):
            pages.write(bytes([1]) * MIB)


needs_clear_refs = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak resident set cannot be reset on this system"
)


@needs_clear_refs
def test_the_peak_of_a_window_is_a_known_allocation() -> None:
    memory = Memory("cpu")
    with memory.window("train"):
        _touch(200)
    found = memory.quantities()
    assert found["train_peak_rss"].value - found["train_start_rss"].value == pytest.approx(200 * MIB, rel=0.02)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system has no /proc/self/statm")
def test_a_resident_set_is_in_bytes_as_its_pages_are() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    assert _status_bytes("VmRSS") == pytest.approx(pages * os.sysconf("SC_PAGE_SIZE"), rel=0.01)


@needs_clear_refs
def test_a_large_evaluation_leaves_the_training_peak_unchanged() -> None:
    memory = Memory("cpu")
    with memory.window("train"):
        _touch(50)
        with memory.window("eval"):
            _touch(300)
    found = memory.quantities()
    assert found["eval_peak_rss"].value - found["train_peak_rss"].value == pytest.approx(250 * MIB, rel=0.05)


@needs_clear_refs
def test_the_peak_is_the_largest_of_all_windows_and_attempts() -> None:
    first = Memory("cpu")
    with first.window("train"):
        _touch(200)
    second = Memory("cpu")
    second.restore(first.state())
    with second.window("train"):
        _touch(10)
    assert second.quantities()["train_peak_rss"] == first.quantities()["train_peak_rss"]


def test_a_resident_set_that_another_run_shares_is_absent_and_stays_so_after_a_requeue() -> None:
    shared = Memory("cpu", "another run is in it")
    with shared.window("train"):
        _touch(1)
    alone = Memory("cpu")
    with alone.window("train"):
        _touch(1)
    alone.restore(shared.state())
    for memory in (shared, alone):
        assert memory.quantities()["train_peak_rss"] == NotMeasured("another run is in it")


def test_what_a_cpu_has_no_counter_for_is_absent_with_a_reason() -> None:
    found = Memory("cpu").quantities()
    assert "CPU" in found["train_peak_allocated"].why
    assert all(isinstance(quantity, NotMeasured) for quantity in found.values())


def test_a_kernel_that_cannot_reset_the_peak_yields_a_reason_not_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("harness.measure.memory._reset_peak_rss", refuse)
    memory = Memory("cpu")
    with memory.window("train"):
        _touch(1)
    assert "Permission denied" in memory.quantities()["train_peak_rss"].why
