"""The texts of slurm.conf, gres.conf and slurmdbd.conf of a sandbox, and why each unusual setting is there.

Refuses nothing: pure functions of a folder, ports and sizes. Checked with Debian's slurm-wlm 22.05.
"""

import time
from dataclasses import dataclass
from pathlib import Path

GPUS = 2  # fake GPUs of a fake node
CPUS = 8
MEMORY_MB = 16000
MAX_ARRAY_SIZE = 101  # small, so that the split of large arrays is exercised
GRACE_SECONDS = 60  # between the warning and the end of a preempted job


@dataclass(frozen=True)
class Ports:
    """TCP ports on 127.0.0.1."""

    controller: int
    nodes: tuple[int, ...]
    accounting: int
    database: int


def slurm_conf(folder: Path, ports: Ports, *, accounting: bool) -> str:
    """Everything under `folder`, no systemd, no cgroups, nothing in /etc; two partitions, `high` preempts `low`."""
    nodes = [
        f"NodeName=n{i} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs={CPUS} "
        f"RealMemory={MEMORY_MB} Gres=gpu:{GPUS}"
        for i, port in enumerate(ports.nodes, start=1)
    ]
    return "\n".join(
        [
            *_daemons(folder, ports),
            *_jobs(),
            *_scheduling(),
            *_accounting(folder, ports, accounting),
            *nodes,
            "PartitionName=low Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 "
            f"PreemptMode=REQUEUE GraceTime={GRACE_SECONDS}",
            "PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF",
            "",
        ]
    )


def _daemons(folder: Path, ports: Ports) -> list[str]:
    return [
        "ClusterName=sandbox",
        "SlurmctldHost=localhost(127.0.0.1)",
        "SlurmUser=root",
        "SlurmdUser=root",
        f"SlurmctldPort={ports.controller}",
        "AuthType=auth/munge",
        "CryptoType=crypto/munge",
        f"AuthInfo=socket={folder}/run/munge.sock,cred_expire=5",  # the default makes each requeue wait for 120 s
        f"StateSaveLocation={folder}/state",
        f"SlurmdSpoolDir={folder}/spool/%n",
        f"SlurmctldPidFile={folder}/run/slurmctld.pid",
        f"SlurmdPidFile={folder}/run/slurmd.%n.pid",
        f"SlurmctldLogFile={folder}/log/slurmctld.log",
        f"SlurmdLogFile={folder}/log/slurmd.%n.log",
        "SlurmdParameters=config_overrides",  # nodes larger than this machine are else invalid
        "MessageTimeout=60",  # a machine that stands still for a moment is no dead daemon
        "ReturnToService=2",
        "MpiDefault=none",
        "ProctrackType=proctrack/linuxproc",  # no cgroups
        "TaskPlugin=task/none",
        "SwitchType=switch/none",
        "GresTypes=gpu",
    ]


def _jobs() -> list[str]:
    first = int(time.time()) % 60_000_000 + 1  # a sandbox made anew never uses the job ids of the last one
    return [
        f"FirstJobId={first}",
        f"MaxArraySize={MAX_ARRAY_SIZE}",
        "KillWait=30",  # SLURM's own default: a machine that stands still for a moment kills no checkpoint
        "MinJobAge=300",
        "DefMemPerCPU=500",
        "JobAcctGatherType=jobacct_gather/linux",
        "JobAcctGatherFrequency=task=1",
        "JobAcctGatherParams=OverMemoryKill",  # without cgroups nothing else enforces memory
    ]


def _scheduling() -> list[str]:
    return [
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core_Memory",  # else one job takes a whole node
        "SchedulerType=sched/backfill",
        "SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=0",
        "PreemptType=preempt/partition_prio",
        "PreemptMode=REQUEUE",
        "SlurmctldParameters=preempt_send_user_signal",  # a preempted job gets the signal that a time limit gives
    ]


def _accounting(folder: Path, ports: Ports, on: bool) -> list[str]:
    if not on:
        return ["AccountingStorageType=accounting_storage/none"]
    return [
        "AccountingStorageType=accounting_storage/slurmdbd",
        "AccountingStorageHost=127.0.0.1",
        f"AccountingStoragePort={ports.accounting}",
        f"AccountingStoragePass={folder}/run/munge.sock",  # else sacct hangs
    ]


def gres_conf(folder: Path) -> str:
    """Two device files per node; AutoDetect would look for real ones."""
    return f"AutoDetect=off\nName=gpu File={folder}/dev/gpu[0-{GPUS - 1}]\n"


def slurmdbd_conf(folder: Path, ports: Ports) -> str:
    """Accounting in a MariaDB of the sandbox's own."""
    return "\n".join(
        [
            "AuthType=auth/munge",
            f"AuthInfo=socket={folder}/run/munge.sock",
            "DbdHost=localhost",
            "DbdAddr=127.0.0.1",
            f"DbdPort={ports.accounting}",
            "SlurmUser=root",
            f"PidFile={folder}/run/slurmdbd.pid",
            f"LogFile={folder}/log/slurmdbd.log",
            "StorageType=accounting_storage/mysql",
            "StorageHost=127.0.0.1",
            f"StoragePort={ports.database}",
            "StorageUser=slurm",
            "StoragePass=slurm",
            "StorageLoc=slurm_acct",
            "",
        ]
    )
