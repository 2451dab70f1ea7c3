"""Who runs a run: numbered lease files in its folder, on any shared file system with hard links. Standard library only.

`lease.1`, `lease.2`, … are made by os.link, which fails where there is one; the holder is the highest. Who holds it is
decided by no number, for numbers begin anew once a run has its record, but by the file itself: each claimant links a
file of its own, `.lease.<nonce>`, and holds the lease as long as the two are one file. Its heartbeat is that file's
modification time, and age is measured on the file system's own clock, so that the clocks of nodes need not agree. A
lease is free when it was released, when its process is gone (seen from the same machine, or known because SLURM started
the same job again), or when its heartbeat is old. A higher number ends a lease, and whoever takes over removes what the
one before was about to publish: one that was only suspended, and wakes up after that, writes nothing more.
"""

import errno
import json
import os
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from harness.execution.holder import Holder, process_lives, this_process
from harness.ledger.errors import SpecError
from harness.ledger.parse import parse
from harness.ledger.paths import remove_parts

STALE_SECONDS = 60.0  # far above BEAT_SECONDS, so that a slow file server is not taken for a dead node
BEAT_SECONDS = 10.0
_NAME = re.compile(r"lease\.(\d+)")


class LeaseLost(Exception):
    """Another process has taken the run over; nothing more may be written by this one."""


@dataclass(frozen=True)
class LeaseInfo:
    """The highest lease of a folder, as another process finds it."""

    generation: int
    holder: Holder | None  # None: the file is still empty, or was torn
    beat: float  # modification time; 0 once released


@dataclass(frozen=True)
class Lease:
    """The right to run what `folder` stands for."""

    folder: Path
    generation: int
    nonce: str = ""
    lost: threading.Event = field(
        default_factory=threading.Event, compare=False
    )  # set when the heartbeat finds it gone

    @property
    def path(self) -> Path:
        return self.folder / f"lease.{self.generation}"

    @property
    def own(self) -> Path:
        """The same file, under a name that nobody else ever has."""
        return self.folder / f".lease.{self.nonce}"

    def still_mine(self) -> bool:
        """False as soon as anybody has taken over, whatever happened to the numbers since."""
        fs_time(self.folder)  # it changes the folder, and so an NFS client does not list it from memory
        return max(_generations(self.folder), default=0) == self.generation and self._is_own()

    def beat(self) -> None:
        """Raises FileNotFoundError when the lease is another's."""
        os.utime(self.own)
        if not self._is_own():
            raise FileNotFoundError(errno.ENOENT, "taken over", str(self.path))

    def release(self) -> None:
        """Free from now on. Needs no disk space: the heartbeat is set to the epoch."""
        with suppress(FileNotFoundError):  # taken over, and tidied up by the new holder
            os.utime(self.own, (0, 0))

    def remove(self) -> None:
        """When the run has its record, which from then on keeps everyone away."""
        if self._is_own():
            self.path.unlink(missing_ok=True)
        self.own.unlink(missing_ok=True)

    def _is_own(self) -> bool:
        try:
            return os.path.samefile(self.path, self.own)
        except OSError:
            return False


def claim(folder: Path) -> Lease | None:
    """The lease of `folder` (made if absent), or None while another process holds it. Raises OSError (disk full)."""
    folder.mkdir(parents=True, exist_ok=True)
    seen = look(folder)
    if seen and not is_free(seen, folder):
        return None
    holder = this_process()
    lease = Lease(folder, (seen.generation if seen else 0) + 1, holder.nonce)
    try:
        lease.own.write_text(json.dumps(asdict(holder)))
        os.link(lease.own, lease.path)
    except (FileExistsError, FileNotFoundError):  # somebody was faster, and may have tidied up behind us
        if not lease._is_own():  # an NFS client that asks twice hears of its own success
            lease.own.unlink(missing_ok=True)
            return None
    except OSError:
        with suppress(OSError):
            lease.own.unlink(missing_ok=True)
        raise
    if not lease.still_mine():  # it slept between its look and its claim, and others took over twice meanwhile
        lease.remove()
        return None
    _tidy(lease)
    return lease


def _tidy(lease: Lease) -> None:
    """Remove earlier leases, and what their holders were about to publish: from here on they cannot."""
    for generation in _generations(lease.folder):
        if generation < lease.generation:
            _remove(Lease(lease.folder, generation).path)
    for own in lease.folder.glob(".lease.*"):
        if own != lease.own:
            _remove(own)
    remove_parts(lease.folder)


def _remove(path: Path) -> None:
    """A lease; a folder in its place is kept under another name."""
    if path.is_dir():
        path.rename(path.with_name(f"damaged.{path.name}.{uuid.uuid4().hex[:8]}"))
    else:
        path.unlink(missing_ok=True)


def look(folder: Path) -> LeaseInfo | None:
    """The highest lease in a folder, None when there is none."""
    for generation in sorted(_generations(folder), reverse=True):
        path = Lease(folder, generation).path
        try:
            with path.open("rb") as file:  # opening makes NFS ask its server for the time
                return LeaseInfo(generation, _holder(file.read()), os.fstat(file.fileno()).st_mtime)
        except FileNotFoundError:
            continue
        except IsADirectoryError:
            return LeaseInfo(generation, None, path.stat().st_mtime)
    return None


def is_free(seen: LeaseInfo, folder: Path) -> bool:
    """Whether a lease may be taken over now."""
    if seen.beat == 0:
        return True
    here, holder = this_process(), seen.holder
    if holder and holder.boot == here.boot and here.boot and not process_lives(holder):
        return True
    if holder and holder.boot != here.boot and holder.job and holder.job == here.job and holder.restart < here.restart:
        return True  # SLURM has ended the earlier start of this very job
    return fs_time(folder) - seen.beat > STALE_SECONDS


@contextmanager
def heartbeat(lease: Lease, seconds: float = BEAT_SECONDS) -> Iterator[None]:
    """Keep the heartbeat going in a daemon thread; release at the end, however it ends."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(seconds):
            try:
                lease.beat()
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ESTALE):  # taken over, and tidied up by the new holder
                    lease.lost.set()
                    return
                # else a file server that is away for a moment

    thread = threading.Thread(target=beat, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        lease.release()


def fs_time(folder: Path) -> float:
    """Now, on the clock that stamps files in `folder`: a server's, not this machine's."""
    probe = folder / f".clock.{uuid.uuid4().hex[:8]}"
    try:
        probe.touch()
        os.utime(probe)
        return probe.stat().st_mtime
    except OSError:  # a full disk, or a store that is not ours: one can look, and claims nothing
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def _generations(folder: Path) -> list[int]:
    try:
        return [int(match[1]) for name in os.listdir(folder) if (match := _NAME.fullmatch(name))]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _holder(text: bytes) -> Holder | None:
    """None when it is not what a process writes."""
    try:
        return parse(Holder, json.loads(text), "lease")
    except (ValueError, SpecError):
        return None
