"""Adafactor (https://arxiv.org/abs/1804.04235) at a rate that the recipe's schedule gives.

transformers' and not torch.optim's: that one takes min(lr, 1/√step) for its rate, so that a constant 0.03 ends after
some 1,100 steps. Updates are clipped at a root mean square of 1, rates are times that of the parameter (0.001 at
least), there is no first moment: the defaults of the paper, of T5X and of optax. LoRA-Squeeze does not say its flags.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

ROW, COLUMN = "exp_avg_sq_row", "exp_avg_sq_col"  # mean squared gradients along the last dimension, and the one before


def adafactor(groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
    """Over groups with their rates. Betas and eps of a recipe are AdamW's."""
    from transformers.optimization import Adafactor  # some seconds, for who wants it

    return Adafactor(list(groups), lr=0.0, scale_parameter=True, relative_step=False, warmup_init=False)


def turned(state: Mapping[str, Any], squares: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """Factored squared gradients of another parameter: `squares` of the matrix they stand for, factored again.

    Empty where `state` holds none, as with AdamW and with vectors.
    """
    if ROW not in state:
        return {}
    row, column = state[ROW], state[COLUMN]
    whole = squares((row / row.mean(-1, keepdim=True)).unsqueeze(-1) * column.unsqueeze(-2))
    return {ROW: whole.mean(-1), COLUMN: whole.mean(-2)}
