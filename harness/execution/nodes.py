"""The nodes that a run's processes are spread over, and a process on one of them. Standard library only.

A launcher says so in the environment of its workers; without that a run's processes are all of this machine.
"""

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass

VARIABLE = "PEFTLAB_NODES"


@dataclass(frozen=True)
class Nodes:
    """This node and others, each with the same share of the processes.

    address: of this node, as the others reach it
    others: name -> the command that starts a command there. It hands on SIGUSR2, ends the process when it gets SIGTERM
    or its own standard input ends, and exits as the process does (128 + n for signal n).
    """

    address: str
    others: Mapping[str, tuple[str, ...]]

    @property
    def count(self) -> int:
        return 1 + len(self.others)

    def environment(self) -> dict[str, str]:
        """For a worker."""
        return {VARIABLE: json.dumps(asdict(self))}


HERE = Nodes("127.0.0.1", {})


def given_nodes() -> Nodes:
    """As this worker's launcher said; else this machine alone."""
    said = os.environ.get(VARIABLE)
    return Nodes(**json.loads(said)) if said else HERE


@dataclass(frozen=True)
class Rank:
    """One of a run's processes; of another node, what started it there."""

    process: subprocess.Popen[bytes]
    node: str | None  # None: this one

    def code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        code = self.process.poll()
        return 128 - code if self.node and code is not None and code > 128 else code

    def ask(self) -> None:
        """For a checkpoint and an end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGUSR2)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM if self.node else signal.SIGKILL)
