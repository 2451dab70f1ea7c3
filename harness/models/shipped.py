"""Weights that lie beside the code of an embedded model, made once by its builder and known by their SHA-256.

Floats differ between processors, and training makes more of it with every step: weights made anew on every machine
would be another base there, and their runs no comparison.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load
from torch import Tensor, nn

from harness.ledger.errors import DataError, NotHere


def read_shipped(file: Path, sha256: str) -> dict[str, Tensor]:
    """The tensors of a weights file. Raises NotHere when it is absent or another one."""
    content = file.read_bytes() if file.is_file() else b""
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        found = digest[:16] if content else "absent"
        raise NotHere(f"model {file.stem}: {file} is {found}, expected {sha256[:16]}; install peftlab anew.")
    return load(content)


def fill(model: nn.Module, tensors: Mapping[str, Tensor], name: str, drawn: frozenset[str]) -> None:
    """Put the weights into the model, but for those `drawn`, which keep what they have.

    Raises DataError when they do not fit.
    """
    own = model.state_dict()
    wrong = {key for key in own.keys() | tensors.keys() if _shape(own, key) != _shape(tensors, key)} - drawn
    if wrong:
        raise DataError(
            f"model {name}: its weights do not fit model.config ({min(wrong)}); leave model.config as the card has it, "
            "or take model.size=tiny, which is drawn at random."
        )
    model.load_state_dict({key: value for key, value in tensors.items() if key not in drawn}, strict=False)


def _shape(tensors: Mapping[str, Tensor], key: str) -> tuple[int, ...] | None:
    return tuple(tensors[key].shape) if key in tensors else None
