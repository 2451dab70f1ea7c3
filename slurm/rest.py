"""`python -m slurm.rest RUNS SUBMISSION`: a job that ends submits what did not fit under the submit limit before."""

import sys
from pathlib import Path

from harness.ledger.cluster_spec import SlurmCluster
from harness.ledger.errors import HarnessError
from harness.ledger.parse import parse
from harness.ledger.plan import read_plan
from harness.ledger.store import Store
from slurm.launch import start
from slurm.submission import read_submission


def main(argv: list[str]) -> int:
    runs = Path(argv[0])
    before = read_submission(runs, argv[1])
    try:
        cluster = parse(SlurmCluster, dict(before.cluster), "cluster")
        done = start(read_plan(runs, before.plan), Store(runs), cluster, before.settings, runner=before.runner)
    except HarnessError as error:  # no sbatch on this node, say: the next `peftlab sweep` does it
        print(error, file=sys.stderr)
        return 2
    print(f"submitted {done.runs} more runs; {done.left} are left")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
