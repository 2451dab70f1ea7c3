"""Quantised bases: a loaded model's linear weights in 4 or 8 bits, by transformers and bitsandbytes, and back again.

Heads, embeddings and norms stay as they are. Raises NotHere where bitsandbytes is not installed.
"""

import math
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from harness.ledger.model_spec import ModelSpec
from harness.models.config import DTYPES
from harness.models.extras import require_packages
from harness.models.loaded import LoadedModel
from harness.models.quiet import quiet
from methods.quantised import (
    PackedShapes,
    dequantised,
    multiply_exactly,
    quantised_modules,
    rounded,
)
from methods.sites import features, is_transposed, stored_weight


def loading_options(spec: ModelSpec, kept: tuple[str, ...]) -> dict[str, Any]:
    """What `from_pretrained` is told; nothing for a plain model. kept: modules whose weights stay as they are."""
    if spec.quantization is None:
        return {}
    require_packages(spec)
    from transformers.utils.quantization_config import BitsAndBytesConfig

    four = spec.quantization == "nf4"
    config = BitsAndBytesConfig(
        load_in_4bit=four,
        load_in_8bit=not four,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=spec.double_quantization,
        bnb_4bit_compute_dtype=DTYPES[spec.compute_dtype or spec.dtype],
        llm_int8_skip_modules=list(kept),
    )
    return {"quantization_config": config, "device_map": {"": "cpu"}}


def quantise(loaded: LoadedModel) -> LoadedModel:
    """The model as its spec asks: as it is, or with packed weights, if it has none yet."""
    if loaded.spec.quantization is None:
        return loaded
    return replace(loaded, model=pack(loaded.model, loaded.spec, loaded.layout.head))


def pack(model: nn.Module, spec: ModelSpec, head: tuple[str, ...]) -> nn.Module:
    """The model with packed weights that multiply exactly; on the meta device, with their shapes."""
    if next(model.parameters()).device.type == "meta":
        return _with_packed_shapes(model, spec, (*head, *_output_modules(model)))
    if not any(quantised_modules(model)):
        model = _through_a_folder(model, spec, (*head, *_output_modules(model)))
    for _, module in quantised_modules(model):
        multiply_exactly(module, DTYPES[spec.compute_dtype] if spec.compute_dtype else None)
    return model


def _through_a_folder(model: Any, spec: ModelSpec, kept: tuple[str, ...]) -> nn.Module:
    """So that transformers packs it as it does any checkpoint."""
    options = loading_options(spec, kept)
    with tempfile.TemporaryDirectory() as folder, quiet(), torch.random.fork_rng(devices=[]):
        model.save_pretrained(folder)
        dtype = next(model.parameters()).dtype
        return type(model).from_pretrained(folder, dtype=dtype, local_files_only=True, **options).eval()


def _output_modules(model: Any) -> tuple[str, ...]:
    """The paths of a language model's head; none of another model."""
    output = model.get_output_embeddings()
    return tuple(name for name, module in model.named_modules() if output is not None and module is output)


def _with_packed_shapes(model: Any, spec: ModelSpec, kept: tuple[str, ...]) -> nn.Module:
    for name, module in list(model.named_modules()):
        plain = type(module) is nn.Linear or is_transposed(module)
        if plain and not any(name == path or name.startswith(f"{path}.") for path in kept):
            shapes = PackedShapes(module, *features(module), str(spec.quantization), spec.double_quantization)
            model.set_submodule(name, shapes)
    return model


@torch.no_grad()
def dequantise(model: Any) -> dict[str, nn.Module]:
    """Plain modules of the values that were read from the packed ones, in place: what can be written and saved.

    The packed ones, by path; none of a plain model, which stays as it is.
    """
    packed = dict(quantised_modules(model))
    for name, module in packed.items():
        model.set_submodule(name, _plain(module, model.config.dtype))
    if packed:
        model.hf_quantizer.remove_quantization_config(model)
    return packed


@torch.no_grad()
def repacking_error(packed: Mapping[str, nn.Module], model: nn.Module) -> float | None:
    """How far the update would be missed, were the model packed again: ‖Q(W) - W‖ / ‖W - Ŵ‖ over the weights that have
    changed since they were read back; None where none has."""
    lost = moved = 0.0
    for path, module in packed.items():
        now = model.get_submodule(path)
        weight = stored_weight(now).t() if is_transposed(now) else stored_weight(now)
        change = float((weight.float() - dequantised(module).float()).square().sum())
        if change:
            moved += change
            lost += float((rounded(module, weight.float()) - weight).square().sum())
    return math.sqrt(lost / moved) if moved else None


def _plain(module: Any, dtype: torch.dtype) -> nn.Module:
    """The class that was packed, nn.Linear or GPT-2's Conv1D, which stores (in, out)."""
    weight = dequantised(module).to(dtype)
    plain: Any = nn.Linear(module.in_features, module.out_features, module.bias is not None, device="meta")
    if module.source_cls is not nn.Linear:
        plain = module.source_cls(module.out_features, module.in_features)
        weight = weight.t().contiguous()
    plain.weight = nn.Parameter(weight)
    if module.bias is not None:
        plain.bias = module.bias
    return plain
