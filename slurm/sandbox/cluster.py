"""A sandbox's daemons: started, stopped and broken one by one. Everything lies in one folder.

Needs root (slurmd switches users) and Debian's `slurm-wlm munge`; accounting also `slurmdbd mariadb-server`.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.ledger.errors import PlanError
from slurm.sandbox.config import GPUS, Ports, gres_conf, slurm_conf

FOLDERS = ("etc", "run", "log", "state", "spool", "dev")


def why_not() -> str | None:
    """Why no sandbox can be started here; None when it can."""
    needed = ("slurmctld", "slurmd", "munged", "sbatch")
    absent = [name for name in needed if not shutil.which(name, path=_search_path())]
    if absent:
        return f"{', '.join(absent)} not installed (Debian: apt-get install slurm-wlm munge)"
    return None if os.geteuid() == 0 else "the sandbox needs root: slurmd switches users"


@dataclass(frozen=True)
class Sandbox:
    """One SLURM in `folder` with nodes n1, n2, … (each a slurmd on a port of its own)."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        """What daemons and clients need in their environment."""
        return {"SLURM_CONF": str(self.folder / "etc/slurm.conf"), "PATH": _search_path()}

    def create(self, *, nodes: int = 2, accounting: bool = False) -> None:
        """Folders, configuration and key; no daemon yet. Raises PlanError when it cannot work here."""
        if reason := why_not():
            raise PlanError(f"no SLURM sandbox here: {reason}.")
        for name in FOLDERS:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        free = _free_ports(nodes + 3)
        ports = Ports(free[0], tuple(free[3:]), free[1], free[2])
        (self.folder / "etc/slurm.conf").write_text(slurm_conf(self.folder, ports, accounting=accounting))
        (self.folder / "etc/gres.conf").write_text(gres_conf(self.folder))
        for i in range(GPUS):
            device = self.folder / f"dev/gpu{i}"
            if not device.exists():
                os.mknod(device, 0o600 | 0o020000, os.makedev(1, 3))  # a twin of /dev/null; a plain file is "inval"
        _write_key(self.folder / "etc/munge.key")
        if accounting:
            from slurm.sandbox.accounting import prepare  # only here: needs mariadb

            prepare(self.folder, ports)

    def start(self) -> None:
        """Every daemon, and wait until all nodes are idle."""
        self.start_munge()
        if (self.folder / "etc/slurmdbd.conf").exists():
            from slurm.sandbox.accounting import start

            start(self.folder, self.env)
        self.start_controller()
        for node in self.nodes():
            self.start_node(node)
        self.wait(lambda: self.states() == dict.fromkeys(self.nodes(), "idle"), "every node idle")

    def nodes(self) -> list[str]:
        text = (self.folder / "etc/slurm.conf").read_text()
        return [line.split()[0].split("=")[1] for line in text.splitlines() if line.startswith("NodeName=")]

    def states(self) -> dict[str, str]:
        """Node -> idle, mixed, allocated, down, … ; empty while the controller does not answer."""
        done = self.ask("sinfo", "-h", "-N", "-o", "%N %T", check=False)
        return dict(line.split() for line in done.splitlines()) if done else {}

    def start_munge(self) -> None:
        run = self.folder / "run"
        self._spawn(
            "munged",
            f"--key-file={self.folder}/etc/munge.key",
            f"--socket={run}/munge.sock",
            f"--pid-file={run}/munged.pid",
            f"--log-file={self.folder}/log/munged.log",
            f"--seed-file={run}/munge.seed",
            "--force",
        )

    def start_controller(self) -> None:
        self._spawn("slurmctld")
        self.wait(lambda: "UP" in self.ask("scontrol", "ping", check=False), "slurmctld")

    def stop_controller(self) -> None:
        self._stop("slurmctld", signal.SIGTERM)

    def start_node(self, node: str) -> None:
        self._spawn("slurmd", "-N", node)

    def kill_node(self, node: str) -> None:
        """As a power cut: the node's daemon and every process of its jobs are gone at once, and SLURM calls it down."""
        self._stop(f"slurmd.{node}", signal.SIGKILL)
        for pid in _stepds_of(self.folder, node):  # before their processes, whose end they would report
            _kill(pid, signal.SIGKILL)
        for pid in _processes_of(f"SLURMD_NODENAME={node}", f"SLURM_CONF={self.env['SLURM_CONF']}"):
            _kill(pid, signal.SIGKILL)
        self.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=power")  # not after SlurmdTimeout

    def stop(self) -> None:
        """Cancel all jobs and end every daemon of this sandbox, and of no other."""
        self.ask("scancel", "--state=PENDING", "--user=root", check=False)
        self.ask("scancel", "--user=root", check=False)
        for name in (*(f"slurmd.{node}" for node in self.nodes()), "slurmctld", "slurmdbd", "mariadbd", "munged"):
            self._stop(name, signal.SIGTERM)
        for pid in _processes_of(f"SLURM_CONF={self.env['SLURM_CONF']}", "SLURM_JOB_ID="):
            _kill(pid, signal.SIGKILL)

    def ask(self, *command: str, check: bool = True) -> str:
        """A client command's output; with check=False "" when it fails."""
        done = subprocess.run(
            command, env=os.environ | self.env, capture_output=True, text=True, timeout=120, check=False
        )
        if check and done.returncode:
            raise PlanError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
        return done.stdout if done.returncode == 0 else ""

    def wait(self, ready: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
        """Poll until `ready()`; raises PlanError that names the logs."""
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end:
                raise PlanError(f"the SLURM sandbox: {what} not reached within {seconds:.0f} s; see {self.folder}/log.")
            time.sleep(0.1)

    def _spawn(self, *command: str) -> None:
        """Daemons put themselves into the background; what they say at the start goes to their logs."""
        done = subprocess.run(
            command, env=_clean(os.environ) | self.env, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            raise PlanError(f"{command[0]} did not start: {done.stderr.strip()}; see {self.folder}/log.")

    def _stop(self, name: str, how: signal.Signals) -> None:
        pid_file = self.folder / f"run/{name}.pid"
        if not pid_file.exists():
            return
        pid = int(pid_file.read_text())
        _kill(pid, how)
        end = time.monotonic() + 15
        while _alive(pid) and time.monotonic() < end:
            time.sleep(0.05)
        _kill(pid, signal.SIGKILL)
        pid_file.unlink(missing_ok=True)


@contextmanager
def pointed_at(sandbox: Sandbox) -> Iterator[None]:
    """SLURM's clients of this process talk to this sandbox."""
    before = dict(os.environ)
    os.environ |= sandbox.env
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


def _search_path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"  # Debian's daemons lie outside an ordinary PATH


def _clean(env: Mapping[str, str]) -> dict[str, str]:
    """Without what a surrounding SLURM job would pass on."""
    return {key: value for key, value in env.items() if not key.startswith(("SLURM_", "SBATCH_"))}


def _write_key(path: Path) -> None:
    if not path.exists():
        path.touch(mode=0o600)
        path.write_bytes(os.urandom(1024))
        path.chmod(0o400)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _kill(pid: int, how: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, how)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _processes_of(*marks: str) -> list[int]:
    """Processes with all of these in their environment (a mark that ends in `=` is any value)."""
    pids = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            env = entry.read_bytes().decode(errors="replace").split("\0")
        except OSError:  # gone, or not ours
            continue
        if all(any(line == mark or (mark.endswith("=") and line.startswith(mark)) for line in env) for mark in marks):
            pids.append(int(entry.parent.name))
    return [pid for pid in pids if pid != os.getpid()]


def _stepds_of(folder: Path, node: str) -> list[int]:
    """slurmstepd processes of one node: they hold its spool folder or log open."""
    pids = []
    for entry in Path("/proc").glob("[0-9]*/comm"):
        try:
            if entry.read_text().strip() != "slurmstepd":
                continue
            links = [os.readlink(link) for link in (entry.parent / "fd").iterdir()]
        except OSError:
            continue
        if any(link.startswith((f"{folder}/spool/{node}/", f"{folder}/log/slurmd.{node}.")) for link in links):
            pids.append(int(entry.parent.name))
    return pids
