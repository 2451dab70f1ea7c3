"""Activation checkpointing: the backward pass computes each block again instead of keeping what is inside it."""

from typing import Any

from torch import nn


def checkpoint_blocks(model: nn.Module, **options: Any) -> None:
    """Switch it on in a transformers model; `options` are those of `torch.utils.checkpoint.checkpoint`."""
    switch: Any = getattr(model, "activation_checkpointing_enable", None)  # since late in transformers 5; earlier:
    if switch is not None:
        switch(activation_checkpointing_kwargs={"use_reentrant": False, **options})
    else:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False, **options})  # type: ignore[operator]
