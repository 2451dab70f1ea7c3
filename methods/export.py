"""A trained method as a standard PEFT LoRA adapter: adapter_config.json and adapter_model.safetensors, as data.

The adapter holds the whole update, W_final - W_loaded: the sum of a chain's links, a column update as B times rows that
select columns, and the parts of a fused projection side by side. Its rank is what that sum needs, its scale is 1.
Refuses methods whose update is not of low rank (full, head, BA-sparse).
Format: https://huggingface.co/docs/peft/developer_guides/checkpoint
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from methods.adapter_layers import NEITHER, AdapterLayers
from methods.adapters import AdapterMethod
from methods.errors import MethodError
from methods.method import Method
from methods.sites import features, is_transposed


def peft_adapter(method: Method) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(adapter_config.json, adapter_model.safetensors), float32 and in host memory.

    Raises MethodError for a method that is no low-rank update, or that was merged already.
    """
    if own := getattr(method, "library_adapter", None):  # a method of the peft library writes its own
        return own()
    if isinstance(method, AdapterLayers):
        raise MethodError(NEITHER)
    if not isinstance(method, AdapterMethod):
        raise MethodError("this method has no low-rank update to export; merge the model instead.")
    if not method.updates:
        raise MethodError("the method was merged: its adapter is gone; export before merging.")
    factors = _module_factors(method)
    tensors = {}
    for path, (b, a) in factors.items():
        tensors[f"base_model.model.{path}.lora_A.weight"] = a.contiguous()
        tensors[f"base_model.model.{path}.lora_B.weight"] = b.contiguous()
    for name, parameter in method.head_parameters().items():
        tensors[f"base_model.model.{name}"] = parameter.detach().float().to("cpu", copy=True)
    return _config(method, {path: a.shape[0] for path, (_, a) in factors.items()}), tensors


def _module_factors(method: AdapterMethod) -> dict[str, tuple[Tensor, Tensor]]:
    """Module path -> (B (out, n), A (n, in)) of all its sites."""
    by_module: dict[str, tuple[Tensor, Tensor]] = {}
    for update in method.updates.values():
        site = update.site
        b, a = (tensor.float().cpu() for tensor in update.factors())
        rows = b.new_zeros(features(site.module)[0], b.shape[1])
        rows[site.low : site.high] = b
        if site.module_path in by_module:
            other_b, other_a = by_module[site.module_path]
            rows, a = torch.cat([other_b, rows], dim=1), torch.cat([other_a, a], dim=0)
        by_module[site.module_path] = rows, a
    return {path: _no_larger_than_needed(b, a) for path, (b, a) in by_module.items()}


def _no_larger_than_needed(b: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    """A sum of more links than the matrix has rank is written as ΔW times the identity."""
    out, width = b.shape[0], a.shape[1]
    if a.shape[0] <= min(out, width):
        return b, a
    delta = b @ a
    return (delta, torch.eye(width)) if width <= out else (torch.eye(out), delta)


def _config(method: AdapterMethod, ranks: dict[str, int]) -> dict[str, Any]:
    rank = max(ranks.values())
    pattern = {path: n for path, n in ranks.items() if n != rank}
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": None,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,
        "rank_pattern": pattern,
        "alpha_pattern": pattern,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": any(is_transposed(site.module) for site in method.sites),
        "target_modules": _names(method.model, sorted(ranks)),
        "modules_to_save": list(method.layout.head) or None,
        "use_rslora": False,
        "use_dora": False,
    }


def _names(model: nn.Module, paths: Sequence[str]) -> list[str]:
    """The short names ("query") where they mean exactly these modules, as is usual; else the paths."""
    short = sorted({path.rpartition(".")[2] for path in paths})
    meant = [name for name, _ in model.named_modules() if name.rpartition(".")[2] in short]
    return short if sorted(meant) == list(paths) else list(paths)
