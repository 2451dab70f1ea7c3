"""sacct for a sandbox: a MariaDB and a slurmdbd of its own, in its folder. Optional: nothing of ours needs it."""

import os
import shutil
import subprocess
import time
from pathlib import Path

from harness.ledger.errors import PlanError
from slurm.sandbox.config import Ports, slurmdbd_conf


def prepare(folder: Path, ports: Ports) -> None:
    """Configuration and an empty database; raises PlanError when a program is absent."""
    absent = [name for name in ("slurmdbd", "mariadbd", "mariadb-install-db") if not shutil.which(name)]
    if absent:
        raise PlanError(f"accounting needs {', '.join(absent)} (Debian: apt-get install slurmdbd mariadb-server).")
    conf = folder / "etc/slurmdbd.conf"
    conf.write_text(slurmdbd_conf(folder, ports))
    conf.chmod(0o600)  # slurmdbd refuses a file others can read
    (folder / "etc/database_port").write_text(str(ports.database))
    subprocess.run(
        [
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={folder}/database",
            "--user=root",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )


def start(folder: Path, env: dict[str, str]) -> None:
    """MariaDB, its user, then slurmdbd."""
    port = (folder / "etc/database_port").read_text()
    socket = folder / "run/database.sock"
    subprocess.Popen(
        [
            "mariadbd",
            "--no-defaults",
            f"--datadir={folder}/database",
            f"--socket={socket}",
            f"--port={port}",
            "--user=root",
            "--bind-address=127.0.0.1",
            f"--pid-file={folder}/run/mariadbd.pid",
            f"--log-error={folder}/log/database.log",
            "--innodb-buffer-pool-size=64M",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    words = (
        "CREATE DATABASE IF NOT EXISTS slurm_acct; CREATE USER IF NOT EXISTS slurm@'%' IDENTIFIED BY 'slurm'; "
        "GRANT ALL ON slurm_acct.* TO slurm@'%';"
    )
    _until(["mariadb", "--no-defaults", f"--socket={socket}", "-e", words], "MariaDB", folder)
    subprocess.run(["slurmdbd"], env=os.environ | env, check=True, timeout=60)
    _until(["sacctmgr", "-n", "list", "cluster"], "slurmdbd", folder, env=os.environ | env)


def _until(command: list[str], what: str, folder: Path, env: dict[str, str] | None = None) -> None:
    end = time.monotonic() + 30
    while subprocess.run(command, capture_output=True, env=env, check=False).returncode:
        if time.monotonic() > end:
            raise PlanError(f"{what} does not answer; see {folder}/log.")
        time.sleep(0.2)
