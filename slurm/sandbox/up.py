"""`python -m slurm.sandbox.up DIR [--nodes 2] [--accounting]`: bring a sandbox up; prints what to export."""

import argparse
import sys
from pathlib import Path

from harness.ledger.errors import HarnessError
from slurm.sandbox.cluster import Sandbox


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m slurm.sandbox.up", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nodes", type=int, default=2, help="fake nodes, each with 8 CPUs, 16 GB and 2 fake GPUs")
    parser.add_argument("--accounting", action="store_true", help="with slurmdbd and MariaDB, so that sacct works")
    given = parser.parse_args(argv)
    sandbox = Sandbox(given.folder.absolute())
    try:
        sandbox.create(nodes=given.nodes, accounting=given.accounting)
        sandbox.start()
    except HarnessError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"export SLURM_CONF={sandbox.env['SLURM_CONF']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
