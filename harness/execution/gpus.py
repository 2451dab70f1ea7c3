"""Which GPUs a worker sees: one for each process of its run, so that no two runs share a device unless there are more
workers than GPUs for them."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

DRIVER = Path("/proc/driver/nvidia/gpus")
VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus() -> list[str]:
    """The GPUs this process may use, in CUDA's words: those of CUDA_VISIBLE_DEVICES, else all of the machine."""
    listed = os.environ.get(VISIBLE)
    if listed is None:
        return [str(number) for number in range(len(list(DRIVER.glob("*"))))]
    return [name for word in listed.split(",") if (name := word.strip()) and name != "-1"]


def pin(worker: int, gpus: Sequence[str], each: int = 1) -> dict[str, str]:
    """The environment that shows a worker `each` GPUs, round robin; nothing where there is none."""
    mine = [gpus[(worker * each + number) % len(gpus)] for number in range(each)] if gpus else []
    return {VISIBLE: ",".join(dict.fromkeys(mine))} if gpus else {}


def sharers(workers: int, gpus: Sequence[str], each: int = 1) -> int:
    """Workers of the fullest device, with `each` GPUs for one; without GPUs all share the processors."""
    return math.ceil(workers * each / max(1, len(gpus)))
