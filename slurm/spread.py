"""A job of several nodes: how its worker, on the first, starts a run's processes on the others."""

import os
import re

from harness.execution.nodes import Nodes
from slurm.commands import SlurmError, ask_again
from slurm.nodes import this_node


def nodes_of_job(cpus: int) -> Nodes:
    """This node and the others of the job, each with `cpus` cores. Raises SlurmError when SLURM does not answer.

    A process elsewhere is a job step of its own: SLURM shows it the GPUs of its node, gives it the warning before the
    end, and ends it with the job.
    """
    here = this_node()
    names = ask_again("scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]).split()
    address = re.search(r"NodeAddr=(\S+)", ask_again("scontrol", "show", "node", here))
    if address is None:
        raise SlurmError(f"scontrol show node {here} names no address, where the run's processes could meet")
    return Nodes(address[1], {name: _step(name, cpus) for name in names if name != here})


def _step(node: str, cpus: int) -> tuple[str, ...]:
    """The mask of the cores that this task is bound to (SLURM_CPU_BIND) would be laid on those of the other node."""
    srun = ("srun", "--overlap", "--nodes=1", "--ntasks=1", f"--cpus-per-task={cpus}", "--unbuffered")
    return ("env", "-u", "SLURM_CPU_BIND", *srun, f"--nodelist={node}")
