"""Which kind of failure an exception is. A failed run is a row with its reason, never a hole."""

import errno
import traceback

import torch

from harness.ledger.errors import DataError
from harness.ledger.record import Failure, FailureKind
from harness.training.context import Diverged

_NODE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE)  # the disk or the file server, not the run
_NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


def failure_of(error: BaseException, phase: str, step: int) -> Failure:
    """The failure as it is recorded: its kind, where it was, and its traceback."""
    message = str(error).strip() or type(error).__name__
    text = "".join(traceback.format_exception(error))
    return Failure(_kind(error), phase, step, message, text)


def _kind(error: BaseException) -> FailureKind:
    if isinstance(error, KeyboardInterrupt):
        return "interrupt"
    if isinstance(error, Diverged):
        return "diverged"
    if isinstance(error, DataError):
        return "data"
    if isinstance(error, OSError) and error.errno in _NODE:
        return "node"
    out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
    if out_of_memory or (isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _NO_MEMORY)):
        return "oom"
    return "exception"
