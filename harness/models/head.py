"""The head's initial values, from a stream of their own: equal for all methods at equal seed (study, §1.1)."""

from collections.abc import Collection

import torch
from torch import nn

from harness.ledger.errors import SpecError


def draw_head(model: nn.Module, paths: Collection[str], seed: int, *, only: Collection[str] | None = None) -> None:
    """Redraw the modules at `paths` as their model class would; `only`: those that own one of these parameter names.

    Raises SpecError when a path names no module. The global generator is left as it was.
    """
    modules = dict(model.named_modules())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for path in paths:
            if path not in modules:
                raise SpecError(f"head '{path}' is no module of {type(model).__name__}; correct the model's card.")
            for name, module in modules[path].named_modules(prefix=path):
                own = [f"{name}.{parameter}" for parameter, _ in module.named_parameters(recurse=False)]
                if own and (only is None or any(parameter in only for parameter in own)):
                    _redraw(model, module)


def _redraw(model: nn.Module, module: nn.Module) -> None:
    for held in (module, *module.parameters(recurse=False)):
        vars(held).pop("_is_hf_initialized", None)  # transformers leaves alone what it has initialised once
    model._init_weights(module)  # type: ignore[operator]
