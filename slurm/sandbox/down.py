"""`python -m slurm.sandbox.down DIR`: cancel the jobs of a sandbox and end its daemons. Its folder stays."""

import argparse
import sys
from pathlib import Path

from slurm.sandbox.cluster import Sandbox


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m slurm.sandbox.down", description=__doc__)
    parser.add_argument("folder", type=Path)
    sandbox = Sandbox(parser.parse_args(argv).folder.absolute())
    if not (sandbox.folder / "etc/slurm.conf").is_file():
        print(f"no sandbox in {sandbox.folder}.", file=sys.stderr)
        return 2
    sandbox.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
