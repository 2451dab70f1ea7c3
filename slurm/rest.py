"""`python -m slurm.rest RUNS SUBMISSION`: a job that ends submits what did not fit under the submit limit before.

The ending job still counts in the queue, so it waits a little for room. One waits at a time; the others just end, which
makes the room. The last job of all always finds some (a limit of 1 leaves none: it is refused at the start).
"""

import sys
import time
from pathlib import Path

from harness.lease import beating, claim
from harness.ledger.cluster_spec import SlurmCluster
from harness.ledger.errors import HarnessError
from harness.ledger.parse import parse
from harness.ledger.plan import read_plan
from harness.ledger.store import Store
from slurm.launch import Launched, start
from slurm.submission import Submission, read_submission

PATIENCE_SECONDS = 15.0


def main(argv: list[str]) -> int:
    runs, before = Path(argv[0]), read_submission(Path(argv[0]), argv[1])
    lease = claim(runs / "jobs" / "rest")
    if lease is None:
        return 0  # another job that ends is at it
    end = time.monotonic() + PATIENCE_SECONDS
    try:
        with beating(lease):
            while (done := _start(runs, before)).left and not done.runs and time.monotonic() < end:
                time.sleep(1.0)
    except HarnessError as error:  # no sbatch on this node, say: the next `peftlab sweep` does it
        print(error, file=sys.stderr)
        return 2
    print(f"submitted {done.runs} more runs; {done.left} are left")
    return 0


def _start(runs: Path, before: Submission) -> Launched:
    cluster = parse(SlurmCluster, dict(before.cluster), "cluster")
    return start(read_plan(runs, before.plan), Store(runs), cluster, before.settings, runner=before.runner)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
