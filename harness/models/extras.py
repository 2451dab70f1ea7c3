"""Packages that only some models need. No torch: it is asked before anything is loaded."""

import importlib.util

from harness.ledger.errors import NotHere
from harness.ledger.model_spec import ModelSpec


def require_packages(spec: ModelSpec) -> None:
    """Raises NotHere where a quantised model's package is not installed."""
    if spec.quantization and importlib.util.find_spec("bitsandbytes") is None:
        raise NotHere(
            f"model.quantization={spec.quantization} needs bitsandbytes, which is not installed: "
            "pip install 'peftlab[quantized]'."
        )
