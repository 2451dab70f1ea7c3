"""The lease, with real processes: one holder, taken over when its process is gone or silent, never two writers."""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest

from harness.execution.holder import this_process
from harness.execution.lease import STALE_SECONDS, Lease, claim, heartbeat, is_free, look

GRAB = """
import sys, time
from pathlib import Path
from harness.execution.lease import claim
print("ready", flush=True)
sys.stdin.readline()
print("got" if claim(Path(sys.argv[1])) else "no", flush=True)
time.sleep(60)
"""


def start(code, *args):
    words = [sys.executable, "-c", code, *map(str, args)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def go(process):
    process.stdin.write("\n")
    process.stdin.flush()


def until(ready):
    end = time.monotonic() + 120
    while not ready():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def hold_as(folder, generation, **changes):
    """A lease file as another process would have written it."""
    path = Lease(folder, generation).path
    path.write_text(json.dumps(asdict(replace(this_process(), **changes))))
    return path


def test_of_several_processes_that_claim_at_the_same_moment_one_gets_the_lease(tmp_path):
    processes = [start(GRAB, tmp_path / "run") for _ in range(5)]
    for process in processes:
        go(process)
    answers = [process.stdout.readline().strip() for process in processes]
    for process in processes:
        process.kill()
        process.communicate()
    assert sorted(answers) == ["got", "no", "no", "no", "no"]


def test_a_killed_holder_on_this_machine_is_replaced_at_once(tmp_path):
    holder = start(GRAB, tmp_path)
    go(holder)
    assert holder.stdout.readline().strip() == "got"
    assert claim(tmp_path) is None
    holder.kill()
    holder.communicate()
    taken = claim(tmp_path)
    assert taken is not None and taken.generation == 2


def test_a_pid_that_is_used_again_is_not_the_holder(tmp_path):
    hold_as(tmp_path, 1, pid=1)  # a living process, but with another start time
    assert claim(tmp_path) is not None


@pytest.mark.parametrize(("age", "free"), [(0, False), (STALE_SECONDS + 20, True)])
def test_a_holder_on_another_machine_keeps_its_lease_as_long_as_its_heart_beats(tmp_path, age, free):
    path = hold_as(tmp_path, 1, boot="another machine")
    os.utime(path, (time.time() - age,) * 2)
    assert (claim(tmp_path) is not None) is free


def test_slurm_starting_the_same_job_again_frees_what_its_earlier_start_held(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    hold_as(tmp_path, 1, boot="another node", job="77", restart=0)
    assert is_free(look(tmp_path), tmp_path)
    hold_as(tmp_path, 1, boot="another node", job="78", restart=0)
    assert not is_free(look(tmp_path), tmp_path)


def test_a_holder_that_was_taken_over_knows_it_and_its_release_frees_nobody_elses_lease(tmp_path):
    first = claim(tmp_path)
    os.utime(first.path, (time.time() - STALE_SECONDS - 5,) * 2)
    first.path.write_text(first.path.read_text().replace(this_process().boot, "another machine"))
    os.utime(first.path, (time.time() - STALE_SECONDS - 5,) * 2)
    second = claim(tmp_path)
    assert second.still_mine() and not first.still_mine()
    first.release()
    assert claim(tmp_path) is None and second.still_mine()


def test_one_that_slept_between_its_look_and_its_claim_does_not_get_a_number_that_was_passed(tmp_path, monkeypatch):
    first = claim(tmp_path)
    first.release()
    looked = look(tmp_path)  # generation 1 is free: this one will try for 2
    second = claim(tmp_path)
    second.release()
    third = claim(tmp_path)  # 3; the file of 2 is gone again
    monkeypatch.setattr("harness.execution.lease.look", lambda folder: looked)
    assert claim(tmp_path) is None
    assert third.still_mine() and not Lease(tmp_path, 2).path.exists()


def test_a_heartbeat_that_finds_its_lease_gone_says_so(tmp_path):
    lease = claim(tmp_path)
    with heartbeat(lease, seconds=0.01):
        lease.path.unlink()
        assert lease.lost.wait(timeout=60)


def test_a_released_lease_is_free_at_once_and_its_number_is_not_used_again(tmp_path):
    first = claim(tmp_path)
    first.release()
    assert claim(tmp_path).generation == 2


def test_the_heartbeat_beats_and_ends_with_a_release(tmp_path):
    lease = claim(tmp_path)
    os.utime(lease.path, (1000, 1000))
    with heartbeat(lease, seconds=0.02):
        until(lambda: look(tmp_path).beat > 1000)
    assert look(tmp_path).beat == 0


def test_a_torn_lease_file_is_held_until_it_is_old(tmp_path):
    path = Lease(tmp_path, 3).path
    path.write_text('{"host": "n')
    assert claim(tmp_path) is None
    os.utime(path, (time.time() - STALE_SECONDS - 5,) * 2)
    assert claim(tmp_path).generation == 4


def test_age_is_measured_on_the_file_systems_clock(tmp_path, monkeypatch):
    """A node whose clock is an hour fast must not take over a living lease."""
    hold_as(tmp_path, 1, boot="another machine")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    assert claim(tmp_path) is None
