"""The head, which every method trains whole, and the freezing of all the rest.

A head of a model with half-precision weights is trained in float32, where small steps are not rounded away; its inputs
are cast on the way in.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from methods.dtypes import master_dtype
from methods.errors import MethodError


class TrainedHead:
    """The head's parameters by their names in the model; empty when the head is a tied LM head (study, §2.1)."""

    def __init__(self, model: nn.Module, paths: tuple[str, ...]) -> None:
        """Freezes the whole model, then frees the head. Raises MethodError when a path names nothing."""
        model.requires_grad_(False)
        modules = dict(model.named_modules())
        if missing := [path for path in paths if path not in modules]:
            raise MethodError(f"head {', '.join(missing)}: no module of {type(model).__name__}; correct its card.")
        self.parameters = {
            f"{path}.{name}": parameter for path in paths for name, parameter in modules[path].named_parameters()
        }
        self._dtypes = {name: parameter.dtype for name, parameter in self.parameters.items()}
        half = any(dtype != master_dtype(dtype) for dtype in self._dtypes.values())
        self._hooks = [modules[path].register_forward_pre_hook(_float32_inputs) for path in paths if half]
        for parameter in self.parameters.values():
            parameter.data = parameter.data.to(master_dtype(parameter.dtype))
            parameter.requires_grad_(True)

    def groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Matrices decay as weights trained whole do in every method; biases and norms do not."""
        return decayed("head", list(self.parameters.values()), lr, weight_decay)

    def tensors(self) -> dict[str, Tensor]:
        return {f"head.{name}": parameter.detach() for name, parameter in self.parameters.items()}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(tensors[f"head.{name}"])

    def remember(self) -> None:
        """Keep a copy of the first values, for `begin_anew`."""
        self._first = {name: tensor.clone() for name, tensor in self.tensors().items()}

    def begin_anew(self) -> None:
        """Back to the values that were remembered."""
        self.restore(self._first)

    def count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters.values())

    def merge(self) -> None:
        """Back to the storage dtype of the model, rounded once."""
        for hook in self._hooks:
            hook.remove()
        for name, parameter in self.parameters.items():
            parameter.data = parameter.data.to(self._dtypes[name])


def decayed(name: str, parameters: list[nn.Parameter], lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Two optimizer groups, `name` for matrices and `name`_no_decay for the rest; an empty one is left out."""
    matrices = [parameter for parameter in parameters if parameter.dim() > 1]
    others = [parameter for parameter in parameters if parameter.dim() <= 1]
    groups = [
        {"name": name, "params": matrices, "lr": lr, "weight_decay": weight_decay},
        {"name": f"{name}_no_decay", "params": others, "lr": lr, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _float32_inputs(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(x.float() if isinstance(x, Tensor) and x.is_floating_point() else x for x in inputs)
