"""In which dtype a tensor is trained."""

import torch


def master_dtype(dtype: torch.dtype) -> torch.dtype:
    """At least float32, where small steps are not rounded away; float32 for integers, which quantised weights are."""
    return torch.promote_types(dtype, torch.float32) if dtype.is_floating_point else torch.float32
