"""The LORA layer of `peft` with our frozen factors, first values, links and fast paths.

A and B are all there is, as in any LORA layer: saving, merging, switching and deleting adapters are the library's own.
The fast paths are for one active adapter on a plain frozen weight; everything else takes `_dense` or the library's way.
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from peft.tuners.lora.layer import Linear
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from methods.errors import MethodError
from methods.library.lent_columns import lent_columns
from methods.library.recipe import Recipe
from methods.sites import is_transposed
from methods.spec import Columns
from methods.update.columns import shared_index
from methods.update.low_rank_linear import low_rank_linear

Pair = tuple[Tensor, Tensor]  # A (n, in) and B (out, n)

_NOT_WRITTEN = "a quantised or sharded weight is not written"
_STEPS = "give the trainer ChainCallback(), or call chain_step(model, 0, total) before the first step and after each."


class LibraryLinear(Linear):
    """`recipes` and `link` (which one is trained) are by adapter; an adapter without a recipe is plain LoRA."""

    base_layer: Any
    lora_A: Any
    lora_B: Any
    lora_dropout: Any
    in_features: int
    out_features: int
    other_param_names = (*Linear.other_param_names, "recipes", "link")

    def update_layer(self, adapter_name: str, r: int, lora_alpha: int, config: Any, **kwargs: Any) -> None:
        self.recipes: dict[str, Recipe] = getattr(self, "recipes", {})
        self.link: dict[str, int | None] = getattr(self, "link", {})
        self._known: dict[str, tuple[Any, ...]] = getattr(self, "_known", {})
        recipe: Recipe | None = getattr(config, "recipe", None)
        if recipe is None:
            return super().update_layer(adapter_name, r, lora_alpha=lora_alpha, config=config, **kwargs)
        own = copy.copy(config)
        own.init_lora_weights = False
        super().update_layer(adapter_name, r, lora_alpha=lora_alpha, config=own, **kwargs)
        self.recipes[adapter_name], self.link[adapter_name] = recipe, None
        self._first_values(adapter_name, kwargs.get("target_name", ""))
        if not recipe.trains_a:
            self.frozen_peft_weight_names = {**self.frozen_peft_weight_names, adapter_name: ("lora_A",)}
            self._freeze_non_trainable_peft_weights(adapter_name)

    @torch.no_grad()
    def _first_values(self, name: str, path: str) -> None:
        a = self.lora_A[name].weight
        a.copy_(self.recipes[name].first_a(a.shape[0], self.in_features, path))
        self.lora_B[name].weight.zero_()

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        names = [name for name in self.active_adapters if name in self.lora_A]
        if args or kwargs or self.merged or self.disable_adapters or not all(name in self.recipes for name in names):
            return super().forward(x, *args, **kwargs)
        if len(names) != 1 or not self._has_fast_path(names[0]):
            return self._dense(x, names)
        base, scale, pairs = self.base_layer, self.scaling[names[0]], self._pairs(names[0])
        linear = (x, base.weight, base.bias, is_transposed(base), scale)
        if (columns := self._columns(names[0])) is not None:
            touched, index = columns
            b = self.lora_B[names[0]].weight.detach()[:, : len(touched)]
            return lent_columns(*linear, (touched, b), index, pairs[-1][1])
        spans = ((0, self.out_features),) * len(pairs)
        return low_rank_linear(*linear, spans, [factor for pair in pairs for factor in pair])

    def is_chained(self, name: str) -> bool:
        return name in self.recipes and self.recipes[name].links > 1

    def _pairs(self, name: str) -> list[Pair]:
        """The finished links, which are constant, and last what is trained."""
        a, b = self.lora_A[name].weight, self.lora_B[name].weight
        low, high = self._block(name)
        if high - low == len(a):
            return [(a, b)]
        past = [(a[:low].detach(), b[:, :low].detach())] if low else []
        return [*past, (a[low:high], b[:, low:high])]

    def _block(self, name: str) -> tuple[int, int]:
        """The rows of A that are trained: of a chain in training, those of the link in progress."""
        if not self.is_chained(name) or not torch.is_grad_enabled():
            return 0, self.r[name]
        if (link := self.link[name]) is None:
            raise MethodError(f"{self.recipes[name].name} is a chain: {_STEPS}")
        rank = self.r[name] // self.recipes[name].links
        return link * rank, (link + 1) * rank

    def _has_fast_path(self, name: str) -> bool:
        dropout, base = self.lora_dropout[name], self.base_layer
        trained = any(parameter.requires_grad for parameter in base.parameters())
        hooked = base._forward_hooks or base._forward_pre_hooks or hasattr(base, "_hf_hook")
        return not (trained or hooked) and is_plain(base) and (isinstance(dropout, nn.Identity) or not dropout.training)

    def _dense(self, x: Tensor, names: list[str]) -> Tensor:
        """The module as it is, and s·B·A of each adapter beside it."""
        y = self.base_layer(x)
        moved = y
        for name in names:
            for a, b in self._pairs(name):
                inner = self.lora_dropout[name](self._cast_input_dtype(x, a.dtype))
                moved = moved + F.linear(F.linear(inner, a), b) * self.scaling[name]
        return moved.to(y.dtype)

    def _columns(self, name: str) -> Pair | None:
        """Columns of the links so far and those of the present one; None unless A's rows select distinct columns."""
        if not isinstance(self.recipes[name].update, Columns):
            return None
        a = self.lora_A[name].weight
        key = (a._version, a.device, self._block(name))
        if (known := self._known.get(name)) is None or known[0] is not a or known[1] != key:
            known = self._known[name] = (a, key, self._selected(name))
        return known[2]

    def _selected(self, name: str) -> Pair | None:
        low, high = self._block(name)
        rows = self.lora_A[name].weight.detach()[:high].cpu()
        index = rows.argmax(dim=1)
        if not torch.equal(rows, F.one_hot(index, self.in_features).to(rows.dtype)) or len(index.unique()) < high:
            return None
        device = self.lora_A[name].weight.device
        return shared_index(index, device), shared_index(index[low:], device)

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        if not is_plain(self.base_layer):
            raise MethodError(f"{_NOT_WRITTEN}; save the adapter, and merge it with `peft` into an unquantised model.")
        super().merge(safe_merge, adapter_names)


def is_plain(module: nn.Module) -> bool:
    """nn.Linear or Conv1D with an ordinary floating weight: not quantised, not sharded, not adapted already."""
    weight = getattr(module, "weight", None)
    linear = type(module) is nn.Linear or is_transposed(module)
    return linear and type(weight) is nn.Parameter and weight.is_floating_point()


def make_layer(target: nn.Module, adapter_name: str, config: Any, **kwargs: Any) -> LibraryLinear:
    """What `peft` asks for each module that a config of ours targets."""
    base = target.get_base_layer() if isinstance(target, BaseTunerLayer) else target
    if not (isinstance(base, nn.Linear) or is_transposed(base)):
        kind, path = type(base).__name__, kwargs.get("target_name", "")
        raise MethodError(f"{path} is a {kind}; {config.recipe.name} acts on nn.Linear and Conv1D: leave it out.")
    if is_transposed(base):
        config.fan_in_fan_out = True
    return LibraryLinear(target, adapter_name, config=config, is_target_conv_1d_layer=is_transposed(base), **kwargs)
