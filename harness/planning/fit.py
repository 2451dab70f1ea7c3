"""On how many GPUs a run's step fits, by the ledger on paper: one, several that share its state, or none. No torch.

Sharded over k GPUs (`parallel=fsdp`), each holds 1/k of the weights, and what its 1/k of the micro-batch keeps for the
backward pass. Of full fine-tuning it holds 1/k of gradients and optimizer state too; an adapter's are whole on each.
A tenth of a GPU's memory is left to CUDA's context, workspaces, the block that is gathered, and slack.
Quantised weights are not sharded: bitsandbytes and FSDP2 corrupt them (bitsandbytes#1945, accelerate#3983).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

USABLE = 0.9
MOST = 1024  # GPUs of one run that are thought of
TRAINED = ("adapter", "gradients", "optimizer")  # roles that are of what is trained
KEPT = ("saved_for_backward", "recomputed_block")  # roles that are of a micro-batch

Count = Callable[[Mapping[str, Any]], Mapping[str, float]]


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


def fit(ledger: Mapping[str, float], spec: Mapping[str, Any], gpus: Gpus, count: Count) -> Fit | None:
    """None where nothing is known of the GPUs or of the step. count: the ledger of another spec, as plain data."""
    if gpus.memory_gb is None or not ledger:
        return None
    enough, size = _least(ledger, spec, gpus)
    if enough == 1:
        return Fit(1, size)
    words = _remedy(spec, gpus, count, below=enough)
    return Fit(enough, size, words or (f"sharding over {enough} GPUs" if enough else _larger(ledger, spec, gpus)))


def per_gpu(ledger: Mapping[str, float], k: int, spec: Mapping[str, Any]) -> float:
    """GB on each of k GPUs; a micro-batch of fewer examples than GPUs is one example each."""
    batch, all_shared = spec["recipe"]["batch_size"], spec["method"]["update"]["kind"] == "full"
    kept = sum(ledger.get(role, 0.0) for role in KEPT)
    whole = 0.0 if all_shared else sum(ledger.get(role, 0.0) for role in TRAINED)
    return ((sum(ledger.values()) - kept - whole) / k + whole + kept / min(k, batch)) / 1e9


def _least(ledger: Mapping[str, float], spec: Mapping[str, Any], gpus: Gpus) -> tuple[int | None, float]:
    """The least number of GPUs that holds a run, and the GB on each; None and the GB on each of the most."""
    held = {k: per_gpu(ledger, k, spec) for k in _numbers(gpus.most, spec)}
    enough = next((k for k, size in held.items() if size <= USABLE * (gpus.memory_gb or 0)), None)
    return enough, held[enough or max(held)]


def _numbers(most: int, spec: Mapping[str, Any]) -> list[int]:
    """1, 2, 4, … GPUs."""
    return [1] if spec["model"].get("quantization") else [2**n for n in range(most.bit_length()) if 2**n <= most]


def _remedy(spec: Mapping[str, Any], gpus: Gpus, count: Count, below: int | None) -> str:
    """The first change that makes fewer than `below` GPUs do (None: any number), in words; "" where none does."""
    for words, changed in _changes(spec):
        ledger = count(changed)
        enough, size = _least(ledger, changed, gpus) if ledger else (None, 0.0)
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


def _larger(ledger: Mapping[str, float], spec: Mapping[str, Any], gpus: Gpus) -> str:
    """The GPUs that it would take, where no change of the run makes those of the card do."""
    enough, _ = _least(ledger, spec, replace(gpus, most=MOST))
    one = f"one GPU of {per_gpu(ledger, 1, spec) / USABLE:.0f} GB"
    return f"it takes {one}" + (f", or cluster.gpus_per_run={enough} of {gpus.memory_gb:g} GB" if enough else "")
