"""On how many GPUs a run's step fits, by the ledger on paper: one, several that share its state, or none. No torch.

Sharded over k GPUs (`parallel=fsdp`), each holds 1/k of the weights, and what its 1/k of the micro-batch keeps for the
backward pass. Of full fine-tuning it holds 1/k of gradients and optimizer state too; an adapter's are whole on each.
A tenth of a GPU's memory is left to CUDA's context, workspaces, the block that is gathered, and slack.
Quantised weights are not sharded: bitsandbytes and FSDP2 corrupt them (bitsandbytes#1945, accelerate#3983).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

USABLE = 0.9
TRAINED = ("adapter", "gradients", "optimizer")  # roles that are of what is trained
KEPT = ("saved_for_backward", "recomputed_block")  # roles that are of a micro-batch


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


def fit(
    ledger: Mapping[str, float],
    spec: Mapping[str, Any],
    gpus: Gpus,
    count: Callable[[Mapping[str, Any]], Mapping[str, float]],
) -> Fit | None:
    """None where nothing is known of the GPUs or of the step. count: the ledger of another spec, as plain data."""
    if gpus.memory_gb is None or not ledger:
        return None
    all_shared = spec["method"]["update"]["kind"] == "full"
    held = {k: per_gpu(ledger, k, spec["recipe"]["batch_size"], all_shared) for k in _numbers(gpus.most, spec)}
    enough = next((k for k, size in held.items() if size <= USABLE * gpus.memory_gb), None)
    if enough == 1:
        return Fit(1, held[1])
    return Fit(enough, held[enough or max(held)], _remedy(enough, spec, gpus, count))


def per_gpu(ledger: Mapping[str, float], k: int, batch: int, all_shared: bool) -> float:
    """GB on each of k GPUs; a micro-batch of fewer examples than GPUs is one example each.

    all_shared: whether what is trained is sharded too, or the frozen weights alone.
    """
    kept = sum(ledger.get(role, 0.0) for role in KEPT)
    whole = 0.0 if all_shared else sum(ledger.get(role, 0.0) for role in TRAINED)
    return ((sum(ledger.values()) - kept - whole) / k + whole + kept / min(k, batch)) / 1e9


def _numbers(most: int, spec: Mapping[str, Any]) -> list[int]:
    """1, 2, 4, … GPUs."""
    return [1] if spec["model"].get("quantization") else [2**n for n in range(most.bit_length()) if 2**n <= most]


def _remedy(
    enough: int | None,
    spec: Mapping[str, Any],
    gpus: Gpus,
    count: Callable[[Mapping[str, Any]], Mapping[str, float]],
) -> str:
    """Packed weights where a method trains beside them; else checkpointing, a smaller micro-batch, or more memory."""
    if spec["method"]["update"]["kind"] != "full" and not spec["model"].get("quantization"):
        packed = {**spec, "model": {**spec["model"], "quantization": "nf4", "double_quantization": True}}
        size = sum(count(packed).values()) / 1e9
        if 0 < size <= USABLE * (gpus.memory_gb or 0):
            return f"model.quantization=nf4 model.double_quantization=true needs one GPU of {size:.1f} GB"
    if enough is not None:
        return "" if enough == 1 else f"sharding over {enough} GPUs"
    if not spec["recipe"]["gradient_checkpointing"]:
        return "try recipe.gradient_checkpointing=true, a smaller recipe.batch_size, or more or larger GPUs"
    return "try a smaller recipe.batch_size, or more or larger GPUs"
