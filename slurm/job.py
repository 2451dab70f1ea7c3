"""What runs inside an allocation: worker processes over a list of run ids. It carries ids and a place, nothing else.

The work is done in child processes, so that a worker that is killed does not take the job with it, and so that SLURM's
warning can be answered with "checkpoint now" and a requeue while the worker is in the middle of a step.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from submitit.helpers import DelayedSubmission

from harness.execution.gpus import pin, sharers, visible_gpus
from harness.execution.queue import is_settled
from harness.execution.supervisor import Death, Start, Supervisor, Worker
from harness.execution.worker import STOPPED
from harness.ledger.store import Store
from harness.measure.cores import share_of
from slurm.begun import QUICK_SECONDS, WORKED, WRONG_CODE, note
from slurm.commands import SlurmError, ask, clean_environment
from slurm.nodes import note_death
from slurm.snapshot import WrongCode, check
from slurm.spread import nodes_of_job
from slurm.submission import Submission, read_submission

POLL_SECONDS = 0.2
LINGER_SECONDS = 10.0  # the signal that stopped a worker is on its way to this process, too
GRACE_SECONDS = 600.0  # longest wait for SLURM to end a job that it has told to end


class RunsFailed(Exception):
    """Raised at the end, so that SLURM calls the job FAILED as we do."""


@dataclass
class Job:
    """One task of an array. submitit pickles it: three words and some ids."""

    runs: str
    name: str  # of the submission
    ids: tuple[str, ...]
    team: Supervisor | None = None  # while the job runs

    def __call__(self) -> None:
        submission = read_submission(Path(self.runs), self.name)
        begun = time.monotonic()
        self._check_code(submission)
        before = self._settled()
        end_signals = _record_end_signals()
        self.team = Supervisor(self.ids, Store(Path(self.runs)), self._starter(submission), self._note_death)
        self.team.begin(min(int(submission.cluster["at_once"]), len(self.ids)))
        while self.team.watch():  # not wait(): a signal's handler could not look then
            time.sleep(POLL_SECONDS)
        if self._settled() > before or not any(self.team.codes) or time.monotonic() > begun + QUICK_SECONDS:
            note(Path(self.runs), self.name, WORKED)
        if STOPPED in self.team.codes:
            _wait_for_slurm(end_signals)
            raise RunsFailed("stopped before the end; the runs go on from their checkpoints")
        if submission.cluster["submit_limit"] is not None:
            self._submit_the_rest()
        deaths = dict(self.team.deaths)
        if deaths or any(code > 0 for code in self.team.codes):
            raise RunsFailed(f"runs failed, or killed their worker: {deaths or 'see the log above'}")

    def _check_code(self, submission: Submission) -> None:
        try:
            if submission.snapshot:
                check(Path(submission.snapshot))
        except WrongCode:
            note(Path(self.runs), self.name, WRONG_CODE)
            raise

    def _settled(self) -> int:
        """How many of its runs have a record."""
        return sum(is_settled(Store(Path(self.runs)), run_id) for run_id in self.ids)

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the workers."""
        return tuple(worker.pid for worker in self.team.workers) if self.team else ()

    def checkpoint(self) -> DelayedSubmission:
        """Called by submitit at SLURM's warning: let the workers save and end, then be queued again."""
        cluster = read_submission(Path(self.runs), self.name).cluster
        for pid in self.pids:
            _signal(pid, signal.SIGTERM)
        end = time.monotonic() + max(5.0, float(cluster["warn_seconds"]) * 0.8)
        while any(_runs(pid) for pid in self.pids) and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        for pid in self.pids:
            _signal(pid, signal.SIGKILL)  # it goes on from its last checkpoint
        return DelayedSubmission(Job(self.runs, self.name, self.ids))

    def _starter(self, submission: Submission) -> Start:
        """How a worker is started: on a GPU of its own, each from another place in the list."""
        count, gpus = min(int(submission.cluster["at_once"]), len(self.ids)), visible_gpus()
        command = [sys.executable, "-m", "harness.execution.worker", "--runs", self.runs, "--plan", submission.address]
        nodes = int(submission.cluster.get("nodes", 1))  # queued earlier: none
        each = int((submission.settings or {}).get("processes", 1)) // nodes  # of one run, on this node
        command += ["--runner", submission.runner, "--at-once", str(sharers(count, gpus, each))]
        if submission.settings is not None:
            command += ["--settings", json.dumps(submission.settings)]
        threads = str(max(1, int(submission.cluster["cpus"]) // count))
        env = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false"}
        if nodes > 1:
            env |= nodes_of_job(int(submission.cluster["cpus"])).environment()

        def start(number: int, ids: Sequence[str]) -> Worker:
            own = pin(number, gpus, each) if gpus else share_of(number, count)
            return subprocess.Popen([*command, *ids[number:], *ids[:number]], env=env | own)

        return start

    def _note_death(self, death: Death) -> None:
        """Tell the log, and the store which node it was on."""
        note_death(Path(self.runs), death.how, list(death.held))
        print(death, flush=True)

    def _submit_the_rest(self) -> None:
        """Under a submit limit, what did not fit into the queue is submitted as jobs end."""
        subprocess.run(
            [sys.executable, "-m", "slurm.submit_remaining", self.runs, self.name], env=clean_environment(), check=False
        )


def _record_end_signals() -> list[int]:
    """Filled when SIGTERM comes, to which submitit is deaf: scancel, a plain requeue, or a preemption without USR2."""
    signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda signum, frame: signals.append(signum))
    return signals


def _wait_for_slurm(end_signals: Sequence[int]) -> None:
    """The workers were stopped, so SLURM is about to end this job. One that ends by itself first is not queued again.

    After USR2 submitit's handler never comes back from here. A job that got SIGTERM and that SLURM still calls RUNNING
    is being preempted: it asks to be queued again, and waits to be killed.
    """
    begun, asked = time.monotonic(), False
    while time.monotonic() < begun + (GRACE_SECONDS if end_signals else LINGER_SECONDS):
        if end_signals and _of_slurm("squeue", "-h", "-o", "%T", "-j") != "RUNNING":
            return
        if end_signals and not asked:
            _of_slurm("scontrol", "requeue")
            asked = True
        time.sleep(1.0)


def _of_slurm(*command: str) -> str:
    """What SLURM says of this job; "" when it does not answer."""
    try:
        return ask(*command, os.environ["SLURM_JOB_ID"], seconds=20).strip()
    except (KeyError, SlurmError):
        return ""


def _signal(pid: int, how: signal.Signals) -> None:
    if _runs(pid):
        os.kill(pid, how)


def _runs(pid: int) -> bool:
    """Whether a child still runs; does not reap it, which is the waiting loop's right."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False
