"""`python -m slurm.submit_remaining RUNS SUBMISSION`: an ending job submits what did not fit under the submit limit.

The ending job still counts in the queue, so it waits a little for room. One waits at a time; the others just end, which
makes the room. The last job of all always finds some (a limit of 1 leaves none: it is refused at the start).
"""

import sys
import time
import uuid
from pathlib import Path

from harness.execution.lease import claim, heartbeat
from harness.ledger.errors import HarnessError
from harness.ledger.parse import parse
from harness.ledger.paths import write_whole
from harness.ledger.plan import read_plan
from harness.ledger.store import Store
from harness.planning.order import work_order
from slurm.cluster_spec import SlurmCluster
from slurm.commands import SlurmSilent
from slurm.launch import Launched, start
from slurm.status import queue
from slurm.submission import Submission, read_submission

PAUSES = (5.0, 20.0, 60.0)  # seconds: the chain of jobs does not end because SLURM is silent for a moment
PATIENCE = 15  # looks, a second apart; counted, so that a node that stands still for a moment does not use them up


def main(argv: list[str]) -> int:
    runs, before = Path(argv[0]), read_submission(Path(argv[0]), argv[1])
    ended = runs / "jobs" / "ended"
    while True:
        write_whole(ended, mine := uuid.uuid4().hex)
        if (lease := claim(runs / "jobs" / "rest")) is None:
            return 0  # another job that ends is at it, and sees from `ended` that one more makes room
        try:
            with heartbeat(lease):
                done = _wait_for_room(runs, before)
        except HarnessError as error:  # no sbatch on this node, say: the next `peftlab sweep` does it
            print(error, file=sys.stderr)
            return 2
        if done.runs or not done.left or ended.read_text() == mine:
            print(f"submitted {done.runs} more runs; {done.left} are left")
            return 0


def _wait_for_room(runs: Path, before: Submission) -> Launched:
    done = _start(runs, before)
    for _ in range(PATIENCE):
        if done.runs or not done.left:
            break
        time.sleep(1.0)
        done = _start(runs, before)
    return done


def _start(runs: Path, before: Submission) -> Launched:
    """Submit what fits; as long as SLURM is silent, after each of PAUSES once more."""
    for pause in PAUSES:
        try:
            if queue(patient=True) is not None:
                return _submit(runs, before)
        except SlurmSilent as error:
            print(error, file=sys.stderr)
        time.sleep(pause)
    return _submit(runs, before)


def _submit(runs: Path, before: Submission) -> Launched:
    cluster = parse(SlurmCluster, dict(before.cluster), "cluster")
    return start(
        work_order(read_plan(runs, before.address)), Store(runs), cluster, before.settings, runner=before.runner
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
