"""Which kind of failure an exception is. A failed run is a row with its reason, never a hole."""

import errno
import os
import re
import traceback
from collections.abc import Iterator

import torch
from torch.distributed import DistError

from harness.ledger.errors import DataError, NodeError, NotHere
from harness.ledger.record import Failure, FailureKind
from harness.training.context import Diverged

# A disk or a file server in trouble, whoever writes: Python, or a native writer that only quotes the system.
_DISK = (
    errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS, errno.EREMOTEIO, errno.ETIMEDOUT, errno.ENOLINK,
    errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH,
)  # fmt: skip
_QUOTED = re.compile(r"(?:os error|errno)[ :=]*(\d+)", re.IGNORECASE)
_WORDS = tuple(os.strerror(number).lower() for number in _DISK)
_TORCH_WRITER = (
    "pytorchstreamwriter failed",
    "unexpected pos",
    "file write failed",
    "iostream error",
)  # it does not quote the system
_NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


def failure_of(error: BaseException, phase: str, step: int) -> Failure:
    """The failure as it is recorded: its kind, where it was, and its traceback."""
    text = "".join(traceback.format_exception(error))
    return Failure(_kind(error), phase, step, message_of(error), text)


def message_of(error: BaseException) -> str:
    """What an exception says; its class where it says nothing."""
    return str(error).strip() or type(error).__name__


def is_node_trouble(error: BaseException) -> bool:
    """Whether the machine is to blame: its disk, file server or network, or what is installed on it.

    A plain OSError, an ImportError and what is not here (NotHere) are; any other exception is when it, or one that it
    was raised from, quotes a disk's error. Such a run has no record, so that the same command takes it up again.
    """
    if isinstance(error, NodeError | NotHere | ImportError) or _is_lost_process(error):
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return True
    return any(_quotes_a_disk_error(each) for each in _chain(error))


def _is_lost_process(error: BaseException) -> bool:
    """Another process of the run is gone, or silent for too long; gloo says so in a plain RuntimeError."""
    return isinstance(error, DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error).lower())


def is_out_of_memory(error: BaseException) -> bool:
    """Memory of the host or the device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _NO_MEMORY)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, those it was raised from or while handling, and the members of groups."""
    waiting, seen = [error], set()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [other for other in (each.__cause__, each.__context__) if other is not None]
        waiting += each.exceptions if isinstance(each, BaseExceptionGroup) else ()


def _quotes_a_disk_error(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _DISK
    text = str(error).lower()
    if any(int(number) in _DISK for number in _QUOTED.findall(text)) or any(words in text for words in _WORDS):
        return True
    return isinstance(error, RuntimeError) and any(words in text for words in _TORCH_WRITER)


def _kind(error: BaseException) -> FailureKind:
    if isinstance(error, KeyboardInterrupt):
        return "interrupt"
    if isinstance(error, Diverged):
        return "diverged"
    if isinstance(error, DataError):
        return "data"
    return "oom" if is_out_of_memory(error) else "exception"
