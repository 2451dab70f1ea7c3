"""In which precision a step computes: asked for by runs and by the probe alike."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch

Precision = Literal["auto", "float32", "bfloat16"]


def uses_bfloat16(precision: Precision, device: torch.device) -> bool:
    """`auto`: bfloat16 autocast on a GPU that has it, float32 elsewhere."""
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return precision == "bfloat16"


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """Around forward passes: bfloat16 autocast where `uses_bfloat16`, else nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if uses_bfloat16(precision, device) else nullcontext()
