"""A trial in two processes, forked from this one: what the first one gives, or the error that ended either."""

import multiprocessing
import queue
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from harness.training.world import World
from methods.errors import MethodError

_PATIENCE = 120.0  # seconds; two processes that wait for each other for ever are broken
SIZE = 2


def in_two_processes(trial: Callable[[World], Tensor]) -> Tensor:
    """What `trial` gives to the first process. Raises MethodError for a refusal, RuntimeError for any other end."""
    fork = multiprocessing.get_context("fork")
    answers: Any = fork.Queue()
    with tempfile.TemporaryDirectory() as place:
        processes = [fork.Process(target=_rank, args=(rank, Path(place), trial, answers)) for rank in range(SIZE)]
        for process in processes:
            process.start()
        try:
            return _first(dict(answers.get(timeout=_PATIENCE) for _ in processes))
        except queue.Empty:
            raise RuntimeError("two processes did not end") from None
        finally:
            for process in processes:
                process.terminate()
                process.join()


def _first(ends: dict[int, Any]) -> Tensor:
    if error := next((end for end in ends.values() if isinstance(end, Exception)), None):
        raise error
    return torch.tensor(ends[0])


def _rank(number: int, place: Path, trial: Callable[[World], Tensor], answers: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{place / 'meeting'}", rank=number, world_size=SIZE)
    try:
        answers.put((number, trial(World(number, SIZE, "fsdp")).tolist()))
    except MethodError as error:
        answers.put((number, MethodError(str(error))))
    except Exception as error:  # broad: whatever is no refusal is the finding
        answers.put((number, RuntimeError(f"{type(error).__name__}: {error}")))
    answers.close()
    answers.join_thread()
    dist.destroy_process_group()
