"""The methods as configs for `peft.get_peft_model`: every argument of LoraConfig, and `seed` of our own draws.

`r` and `lora_alpha` are those of one link; a chain's adapter has links · r rows on disk, and the same scale.
"""

from typing import Any

import peft
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from methods.errors import MethodError
from methods.library.layer import make_layer
from methods.library.recipe import Recipe
from methods.spec import Columns, LowRank

_DECIDED = ("init_lora_weights", "use_dora", "lora_bias", "layer_replication", "target_parameters")


class LibraryConfig(LoraConfig):
    """A LORA config with a recipe, which is not written down: on disk it is a plain one."""

    recipe: Recipe

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"init_lora_weights": True}


def cla(r: int = 8, lora_alpha: float = 8, *, seed: int = 0, **options: Any) -> LoraConfig:
    """cLA: W[:, 0…r-1] = W0[:, 0…r-1] + s·B, B trained (Beyond LoRA, arXiv:2606.13767)."""
    return _config(Recipe("cla", _columns("first"), 1, seed), r, lora_alpha, options)


def r_cla(r: int = 8, lora_alpha: float = 8, *, seed: int = 0, **options: Any) -> LoraConfig:
    """r-cLA: as cLA, on r random columns of each weight (arXiv:2606.13767)."""
    return _config(Recipe("r_cla", _columns("random"), 1, seed), r, lora_alpha, options)


def paca(r: int = 8, lora_alpha: float = 8, *, seed: int = 0, **options: Any) -> LoraConfig:
    """PaCA: r random columns of W are trained (arXiv:2503.01905); as s·B on top of them, so weight decay is to W0."""
    return _config(Recipe("paca", _columns("random", "paca"), 1, seed), r, lora_alpha, options)


def c3la(r: int = 8, lora_alpha: float = 8, *, links: int = 3, seed: int = 0, **options: Any) -> LoraConfig:
    """c³LA: link j is cLA on columns j·r + i (arXiv:2606.13767). Needs ChainCallback or `chain_step`."""
    return _config(Recipe("c3la", _columns("first"), links, seed), r, lora_alpha, options)


def r_c3la(r: int = 8, lora_alpha: float = 8, *, links: int = 3, seed: int = 0, **options: Any) -> LoraConfig:
    """r-c³LA: c³LA's windows in random order (arXiv:2606.13767). Needs ChainCallback or `chain_step`."""
    return _config(Recipe("r_c3la", _columns("shuffled"), links, seed), r, lora_alpha, options)


def lora(r: int = 8, lora_alpha: float = 8, *, seed: int = 0, **options: Any) -> LoraConfig:
    """LoRA (arXiv:2106.09685) by our faster layer."""
    return _config(Recipe("lora", _low_rank(True), 1, seed), r, lora_alpha, options)


def asym(r: int = 8, lora_alpha: float = 8, *, seed: int = 0, **options: Any) -> LoraConfig:
    """Asym-LoRA: A frozen at its random draw, B trained (arXiv:2402.16842)."""
    return _config(Recipe("asym", _low_rank(False), 1, seed), r, lora_alpha, options)


def cola(r: int = 8, lora_alpha: float = 8, *, links: int = 3, seed: int = 0, **options: Any) -> LoraConfig:
    """Chain of LoRA: each link trains a new A and B (arXiv:2401.04151). Needs ChainCallback or `chain_step`."""
    return _config(Recipe("cola", _low_rank(True), links, seed), r, lora_alpha, options)


def rac(r: int = 8, lora_alpha: float = 8, *, links: int = 3, seed: int = 0, **options: Any) -> LoraConfig:
    """RAC-LoRA: each link trains B on a new frozen A (arXiv:2410.08305). Needs ChainCallback or `chain_step`."""
    return _config(Recipe("rac", _low_rank(False), links, seed), r, lora_alpha, options)


def _columns(selector: Any, stream: str | None = None) -> Columns:
    return Columns("columns", 1, 1.0, selector, "zero", stream)  # rank and alpha are the config's


def _low_rank(train_a: bool) -> LowRank:
    return LowRank("low_rank", 1, 1.0, train_a, True, "kaiming_uniform", "zero")


def _config(recipe: Recipe, r: int, alpha: float, options: dict[str, Any]) -> LoraConfig:
    _check(recipe, options)
    links = recipe.links
    for pattern in ("rank_pattern", "alpha_pattern"):
        options[pattern] = {key: value * links for key, value in options.get(pattern, {}).items()}
    config = LibraryConfig(r=r * links, lora_alpha=alpha * links, **options)  # type: ignore[arg-type]
    config.recipe = recipe
    config.init_lora_weights = recipe.name  # type: ignore[assignment]  # a layer that is not ours refuses it
    config._register_custom_module({nn.Module: make_layer})  # type: ignore[dict-item]
    return config


def _check(recipe: Recipe, options: dict[str, Any]) -> None:
    if not (hasattr(LoraConfig, "_register_custom_module") and hasattr(BaseTunerLayer, "frozen_peft_weight_names")):
        raise MethodError(f"peft {peft.__version__} has no hook for layers of other packages; 0.20 to 0.21 have it.")
    if recipe.links < 1:
        raise MethodError(f"{recipe.name}: links={recipe.links}; a chain has one link or more.")
    if recipe.links > 1 and options.get("use_rslora"):
        raise MethodError(f"{recipe.name}: use_rslora would scale by the rank of all links; leave it out of a chain.")
    for option in _DECIDED:
        if options.get(option):
            raise MethodError(f"{recipe.name}: {option} is no option here, as the method decides it; leave it out.")
