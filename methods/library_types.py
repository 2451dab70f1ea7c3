"""The types of the `peft` library, by name: what is short for what, and which cannot be adapted here. No torch.

A type that the installed library has and this list does not is a failing test, so that an upgrade is looked at.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

SHORT: Mapping[str, tuple[str, Mapping[str, Any]]] = {  # what people call a method -> its type and option
    "DORA": ("LORA", {"use_dora": True}),
    "RSLORA": ("LORA", {"use_rslora": True}),
}
TYPES = (
    "ADALORA", "ADAMSS", "BEFT", "BOFT", "C3A", "DEFT", "DELORA", "FOURIERFT", "FROD", "GLORA", "GRALORA", "HIRA",
    "HRA", "IA3", "LILY", "LN_TUNING", "LOHA", "LOKR", "LORA", "MISS", "OFT", "OSF", "PEANUT", "PSOFT", "PVERA",
    "RANDLORA", "ROAD", "SHIRA", "SUPERTUNING", "TINYLORA", "UNILORA", "VBLORA", "VERA", "WAVEFT",
)  # fmt: skip
_ON_INPUTS = "adds tokens to the input, which only the library's own wrapper of the model does"
REFUSED = {
    "ADAPTION_PROMPT": "adds learned tokens inside the attention, and is no update of the targets",
    "CARTRIDGE": _ON_INPUTS,
    "CPT": _ON_INPUTS,
    "MULTITASK_PROMPT_TUNING": _ON_INPUTS,
    "POLY": "wants the number of its task with every batch",
    "PREFIX_TUNING": _ON_INPUTS,
    "PROMPT_TUNING": _ON_INPUTS,
    "P_TUNING": _ON_INPUTS,
    "SHADOW": "runs a second network beside the model, which only the library's own wrapper does",
    "TRAINABLE_TOKENS": "trains rows of the embedding, and is no update of the targets",
    "XLORA": "mixes adapters that were trained before",
}


def why_not_type(kind: str) -> str | None:
    """A sentence when the library's type `kind` cannot be adapted here, else None."""
    if kind in TYPES or kind in SHORT:
        return None
    if kind in REFUSED:
        return f"the peft library's {kind} cannot be used here: it {REFUSED[kind]}."
    names = sorted((*TYPES, *SHORT))
    near = get_close_matches(kind.upper(), names, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"'{kind}' is no type of the peft library.{hint} Known: {', '.join(names)}."
