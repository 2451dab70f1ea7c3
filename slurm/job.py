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
from dataclasses import dataclass
from pathlib import Path

from submitit.helpers import DelayedSubmission

from harness.lease import look
from harness.ledger.store import Store
from harness.worker import STOPPED
from slurm.nodes import note_death
from slurm.submission import Submission, read_submission

POLL_SECONDS = 0.2
LINGER_SECONDS = 2.0  # the signal that stopped a worker is on its way to this process, too
DEATHS_OF_A_RUN = 2  # a run that kills its worker this often is left alone, so that the others get their turn


class RunsFailed(Exception):
    """Raised at the end, so that SLURM calls the job FAILED as we do."""


@dataclass
class Job:
    """One task of an array. submitit pickles it: three words and some ids."""

    runs: str
    name: str  # of the submission
    ids: tuple[str, ...]
    pids: tuple[int, ...] = ()  # of the workers, while they live

    def __call__(self) -> None:
        submission = read_submission(Path(self.runs), self.name)
        at_once = int(submission.cluster["at_once"])
        deaths: dict[str, int] = {}
        failed = False
        ids = list(self.ids)
        while ids:
            codes = self._work(submission, ids, at_once)
            if STOPPED in codes:
                time.sleep(LINGER_SECONDS)
                raise RunsFailed("stopped before the end; the runs go on from their checkpoints")
            failed = failed or any(code > 0 for code in codes)
            killed = [(pid, code) for pid, code in zip(self.pids, codes, strict=True) if code < 0]
            if not killed:
                break
            for pid, code in killed:
                self._count_death(pid, code, ids, deaths)
            ids = [run_id for run_id in ids if deaths.get(run_id, 0) < DEATHS_OF_A_RUN]
        if submission.cluster["submit_limit"] is not None:
            self._submit_the_rest()
        if failed or deaths:
            raise RunsFailed(f"runs failed, or killed their worker: {deaths or 'see the log above'}")

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

    def _work(self, submission: Submission, ids: list[str], at_once: int) -> list[int]:
        """Start the workers and wait; their exit codes, negative for a signal."""
        command = [sys.executable, "-m", "harness.worker", "--runs", self.runs, "--plan", submission.plan]
        command += ["--runner", submission.runner, "--at-once", str(at_once)]
        if submission.settings is not None:
            command += ["--settings", json.dumps(submission.settings)]
        threads = str(max(1, int(submission.cluster["cpus"]) // at_once))
        env = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false"}
        workers = [subprocess.Popen([*command, *ids[i:], *ids[:i]], env=env) for i in range(min(at_once, len(ids)))]
        self.pids = tuple(worker.pid for worker in workers)
        while any(worker.poll() is None for worker in workers):  # not wait(): a signal's handler could not look then
            time.sleep(POLL_SECONDS)
        return [worker.returncode for worker in workers]

    def _count_death(self, pid: int, code: int, ids: list[str], deaths: dict[str, int]) -> None:
        """Find the run whose lease the dead worker held, and tell the store which node it was on."""
        store = Store(Path(self.runs))
        held = [
            i
            for i in ids
            if (seen := look(store.paths(i).folder)) and seen.holder and seen.holder.pid == pid and seen.beat
        ]
        for run_id in held:
            deaths[run_id] = deaths.get(run_id, 0) + 1
        if not held:  # it died before its first run: without a culprit there is no end to trying
            deaths |= {run_id: deaths.get(run_id, 0) + 1 for run_id in ids}
        note_death(Path(self.runs), signal.Signals(-code).name, held)
        print(
            f"worker {pid} died of {signal.Signals(-code).name} while it ran {', '.join(held) or 'nothing'}", flush=True
        )

    def _submit_the_rest(self) -> None:
        """Under a submit limit, what did not fit into the queue is submitted as jobs end."""
        env = {
            key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SBATCH_", "SUBMITIT_"))
        }
        if conf := os.environ.get("SLURM_CONF"):
            env["SLURM_CONF"] = conf
        subprocess.run([sys.executable, "-m", "slurm.rest", self.runs, self.name], env=env, check=False)


def _signal(pid: int, how: signal.Signals) -> None:
    if _runs(pid):
        os.kill(pid, how)


def _runs(pid: int) -> bool:
    """Whether a child still runs; does not reap it, which is the waiting loop's right."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False
