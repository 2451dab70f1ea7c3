"""On how many GPUs a run's step fits, by the ledger on paper: one, several that share its state, or none. No torch.

Sharded over k GPUs (`parallel=fsdp`), each holds 1/k of the weights, and what its rows of the micro-batch keep for the
backward pass, casts of weights among it. Of full fine-tuning it holds 1/k of gradients and optimizer state too; an
adapter's are whole on each, and so are the columns and the finished links of a chain that it keeps beside a sharded W.
On top, whole and as stored, what is gathered: the weights outside the blocks, for the whole step, and two blocks, the
one at work and the next; under full fine-tuning also gradients of the former and of one block
(https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html).
A tenth of a GPU's memory is left to CUDA's context, workspaces and slack.
Quantised weights are not sharded: bitsandbytes and FSDP2 corrupt them (bitsandbytes#1945, accelerate#3983).
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.planning.step_cost_cache import StepCost

USABLE = 0.9
MOST = 1024  # GPUs of one run that are thought of
TRAINED = ("adapter", "gradients", "optimizer")  # roles that are of what is trained
KEPT = ("saved_for_backward", "recomputed_block")  # roles that are of a micro-batch

Count = Callable[[Mapping[str, Any]], StepCost]


@dataclass(frozen=True)
class Gpus:
    """What a cluster card says of its GPUs, as a run sees them."""

    memory_gb: float | None  # of one; None: nothing is judged
    most: int  # GPUs that one run may be sharded over
    price: float | None  # of one for an hour, in the currency of the card


@dataclass(frozen=True)
class Fit:
    """gpus: how many a run needs; None: no allowed number holds it. gigabytes: on each of them, of the least number or,
    where it fits none, of the most. remedy: what would make fewer do, or any; empty where one does."""

    gpus: int | None
    gigabytes: float
    remedy: str = ""


def gpus_of(cluster: Mapping[str, Any]) -> Gpus:
    """Of a card as plain data; a card without these keys judges nothing."""
    return Gpus(cluster.get("gpu_memory_gb"), cluster.get("gpus_per_run") or 1, cluster.get("price_per_gpu_hour"))


def fit(cost: StepCost, spec: Mapping[str, Any], gpus: Gpus, count: Count) -> Fit | None:
    """None where nothing is known of the GPUs or of the step. cost: of `spec`; count: of another."""
    if gpus.memory_gb is None or not cost.bytes:
        return None
    if (alone := sum(cost.bytes.values()) / 1e9) <= USABLE * gpus.memory_gb:
        return Fit(1, alone)
    enough, size = _least(spec, gpus, count)
    words = _remedy(spec, gpus, count, below=enough)
    return Fit(enough, size, words or (f"sharding over {enough} GPUs" if enough else _larger(alone, spec, gpus, count)))


def per_gpu(k: int, spec: Mapping[str, Any], count: Count) -> float:
    """GB on each of k GPUs; a micro-batch of fewer examples than GPUs is one example each."""
    recipe, all_shared = spec["recipe"], spec["method"]["update"]["kind"] == "full"
    cost = count({**spec, "recipe": {**recipe, "batch_size": math.ceil(recipe["batch_size"] / k)}})
    if k == 1:
        return sum(cost.bytes.values()) / 1e9
    whole = sum(cost.bytes.get(role, 0.0) for role in (KEPT if all_shared else KEPT + TRAINED))
    gathered = cost.beside + 2 * cost.block + cost.rest + (cost.block + cost.rest if all_shared else 0.0)
    return ((sum(cost.bytes.values()) - whole) / k + whole + gathered) / 1e9


def _least(spec: Mapping[str, Any], gpus: Gpus, count: Count) -> tuple[int | None, float]:
    """The least number of GPUs that holds a run, and the GB on each; None and the GB on each of the most."""
    size = math.inf
    for k in _numbers(gpus.most, spec):
        size = per_gpu(k, spec, count)
        if size <= USABLE * (gpus.memory_gb or 0):
            return k, size
    return None, size


def _numbers(most: int, spec: Mapping[str, Any]) -> list[int]:
    """1, 2, 4, … GPUs."""
    return [1] if spec["model"].get("quantization") else [2**n for n in range(most.bit_length()) if 2**n <= most]


def _remedy(spec: Mapping[str, Any], gpus: Gpus, count: Count, below: int | None) -> str:
    """The first change that makes fewer than `below` GPUs do (None: any number), in words; "" where none does."""
    for words, changed in _changes(spec):
        enough, size = _least(changed, gpus, count) if count(changed).bytes else (None, 0.0)
        if enough and (below is None or enough < below):
            return f"{words} needs {'one GPU' if enough == 1 else f'{enough} GPUs'} of {size:.1f} GB"
    return ""


def _changes(spec: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What leaves the training as it is but for rounding: packed weights where a method trains beside them, blocks
    computed again, micro-batches of one example. As words, with the spec that they make."""
    recipe = spec["recipe"]
    if spec["method"]["update"]["kind"] != "full" and not spec["model"].get("quantization"):
        words = "model.quantization=nf4 model.double_quantization=true"
        yield words, {**spec, "model": {**spec["model"], "quantization": "nf4", "double_quantization": True}}
    again = {} if recipe["gradient_checkpointing"] else {"gradient_checkpointing": True}
    ones = {"batch_size": 1, "accumulate": recipe["batch_size"] * recipe.get("accumulate", 1)}
    for changes in (again, again | ones if recipe["batch_size"] > 1 else {}):
        if changes:
            words = " ".join(f"recipe.{key}={str(value).lower()}" for key, value in changes.items())
            yield words, {**spec, "recipe": {**recipe, **changes}}


def _larger(alone: float, spec: Mapping[str, Any], gpus: Gpus, count: Count) -> str:
    """The GPUs that it would take, where no change of the run makes those of the card do. alone: GB on one."""
    enough, _ = _least(spec, replace(gpus, most=MOST), count)
    one = f"one GPU of {alone / USABLE:.0f} GB"
    return f"it takes {one}" + (f", or cluster.gpus_per_run={enough} of {gpus.memory_gb:g} GB" if enough else "")
