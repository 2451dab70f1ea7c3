"""A PEFT LoRA folder, from this project or from anywhere: adapter_config.json and adapter_model.safetensors.

Tensors are read one module at a time, so that an adapter of any size needs the memory of its largest module.
Format: https://huggingface.co/docs/peft/developer_guides/checkpoint
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from harness.ledger.errors import DataError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
# (suffix of A, suffix of B): of linear and convolution modules, and of embeddings
PAIRS = ((".lora_A.weight", ".lora_B.weight"), (".lora_embedding_A", ".lora_embedding_B"))
# options of a LoRA config under which the update is not scale * B @ A, and what they are
NOT_LOW_RANK = {
    "use_dora": "DoRA, whose magnitudes belong to the whole weight",
    "lora_bias": "a bias beside B",
    "use_qalora": "QALoRA",
    "target_parameters": "LoRA on parameters of expert stacks",
    "layer_replication": "replicated layers",
    "arrow_config": "Arrow routing",
}

# initialisations that change the base model when the adapter is loaded: its update is relative to those weights
CHANGES_THE_BASE = ("pissa", "olora", "corda", "loftq")


@dataclass(frozen=True)
class FactorPair:
    """The factors of one module: B·A times `scale` is its update. Convolutions are flattened to two dimensions."""

    module: str
    b: Tensor  # (out, rank)
    a: Tensor  # (rank, in)
    scale: float
    names: tuple[str, str]  # of B and A in the file
    shapes: tuple[tuple[int, ...], tuple[int, ...]]  # of B and A in the file

    def shaped(self, b: Tensor, a: Tensor) -> dict[str, Tensor]:
        """Factors of another rank, by their names and in the shapes of the file."""
        shape_b, shape_a = self.shapes
        return {
            self.names[0]: b.reshape(shape_b[0], b.shape[1], *shape_b[2:]).contiguous(),
            self.names[1]: a.reshape(a.shape[0], *shape_a[1:]).contiguous(),
        }


@dataclass(frozen=True)
class LoraFolder:
    """The open folder. `pairs` reads factors; `others` reads what is saved beside them (heads, whole modules)."""

    path: Path
    config: Mapping[str, Any]
    _file: Any

    def modules(self) -> tuple[str, ...]:
        """Every adapted module, by its path in the model."""
        return tuple(name.removeprefix(PREFIX).removesuffix(_a_suffix(name)) for name in self._a_names())

    def pairs(self) -> Iterator[FactorPair]:
        """The factors of each module, read as they are asked for. Raises DataError for a pair that does not fit."""
        for name_a in self._a_names():
            yield self._pair(name_a)

    def others(self) -> dict[str, Tensor]:
        """Everything that is no factor: what `modules_to_save` kept whole."""
        factors = {suffix for pair in PAIRS for suffix in pair}
        names = [name for name in self._file.keys() if not name.endswith(tuple(factors))]  # noqa: SIM118
        return {name: self._file.get_tensor(name) for name in names}

    def _a_names(self) -> list[str]:
        return [name for name in sorted(self._file.keys()) if name.endswith(tuple(a for a, _ in PAIRS))]

    def _pair(self, name_a: str) -> FactorPair:
        suffix = _a_suffix(name_a)
        module = name_a.removeprefix(PREFIX).removesuffix(suffix)
        name_b = name_a.removesuffix(suffix) + dict(PAIRS)[suffix]
        try:
            a, b = self._file.get_tensor(name_a), self._file.get_tensor(name_b)
        except SafetensorError as error:
            raise DataError(f"{self.path / WEIGHTS}: {module} has no {name_b.rpartition('.lora_')[2]}.") from error
        if a.ndim < 2 or b.ndim < 2 or b.flatten(1).shape[1] != a.shape[0]:
            shapes = f"A {tuple(a.shape)} and B {tuple(b.shape)}"
            raise DataError(f"{self.path / WEIGHTS}: the factors of {module} do not fit: {shapes}.")
        scale = scale_of(self.config, module, a.shape[0])
        return FactorPair(module, b.flatten(1), a.flatten(1), scale, (name_b, name_a), (tuple(b.shape), tuple(a.shape)))


@contextmanager
def open_lora(path: Path) -> Iterator[LoraFolder]:
    """The LoRA adapter in a folder. Raises DataError, in one sentence, for what is none or is more than B·A."""
    config = _config(path)
    try:
        with safe_open(path / WEIGHTS, framework="pt") as file:
            folder = LoraFolder(path, config, file)
            if not folder.modules():
                raise DataError(f"{path / WEIGHTS} holds no lora_A: there is nothing of low rank in it.")
            yield folder
    except SafetensorError as error:
        raise DataError(f"{path / WEIGHTS} cannot be read: {error}.") from error


def scale_of(config: Mapping[str, Any], module: str, rank: int) -> float:
    """α / rank, or α / √rank with rsLoRA, where α is the module's own if `alpha_pattern` has it."""
    alpha = float(pattern_value(config.get("alpha_pattern") or {}, module, config["lora_alpha"]))
    return alpha / (sqrt(rank) if config.get("use_rslora") else rank)


def pattern_value(pattern: Mapping[str, Any], module: str, default: Any) -> Any:
    """The value of the first key that matches the end of a module's path, as the peft library matches them."""
    return next((value for key, value in pattern.items() if re.match(rf"(.*\.)?({key})$", module)), default)


def _config(path: Path) -> dict[str, Any]:
    file = path / CONFIG
    if not (path / WEIGHTS).is_file():
        pickled = "; adapter_model.bin is a pickle, save the adapter as safetensors"
        why = pickled if (path / "adapter_model.bin").is_file() else ""
        raise DataError(f"{path} holds no {WEIGHTS}{why}.")
    try:
        config = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}.") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        kind = config.get("peft_type") if isinstance(config, dict) else None
        raise DataError(f"{file}: peft_type is {kind!r}; only LORA adapters can be squeezed.")
    alpha = config.get("lora_alpha")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float):
        raise DataError(f"{file}: lora_alpha is {alpha!r}, which is no number.")
    for option, what in NOT_LOW_RANK.items():
        if config.get(option):
            raise DataError(f"{file}: {option} is set; {what} is not the product B·A alone and cannot be squeezed.")
    if config.get("bias", "none") != "none":
        raise DataError(
            f"{file}: bias is {config['bias']!r}; trained biases are not of low rank and cannot be squeezed."
        )
    init = str(config.get("init_lora_weights"))
    if init.startswith(CHANGES_THE_BASE):
        raise DataError(
            f"{file}: init_lora_weights is {init!r}, which changes the base model; convert it to LoRA first."
        )
    return config


def _a_suffix(name: str) -> str:
    return next(a for a, _ in PAIRS if name.endswith(a))
