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
NOT_PACKED = (  # read the weight itself, which a quantised base has packed (docs/capabilities.md)
    "ADAMSS", "C3A", "DEFT", "DELORA", "FROD", "GRALORA", "HRA", "LOHA", "LOKR", "PEANUT", "SUPERTUNING", "TINYLORA",
    "UNILORA",
)  # fmt: skip
IN_CACHE = ("CARTRIDGE", "PREFIX_TUNING")  # prompts that are keys and values of every block
PROMPTS = ("CARTRIDGE", "PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING")  # learned tokens in front of the text
_OF_TASKS = "wants the number of its task with every batch"
REFUSED = {
    "ADAPTION_PROMPT": "adds learned tokens inside the attention, and is no update of the targets",
    "CPT": "learns from examples that are written into its options, by a loss of its own",
    "MULTITASK_PROMPT_TUNING": _OF_TASKS,
    "POLY": _OF_TASKS,
    "SHADOW": "runs a second network beside the model, which only the library's own wrapper does",
    "TRAINABLE_TOKENS": "trains rows of the embedding, and is no update of the targets",
    "XLORA": "mixes adapters that were trained before",
}


def why_not_type(kind: str) -> str | None:
    """A sentence when the library's type `kind` cannot be adapted here, else None."""
    if kind in TYPES or kind in SHORT or kind in PROMPTS:
        return None
    if kind in REFUSED:
        return f"the peft library's {kind} cannot be used here: it {REFUSED[kind]}."
    names = sorted((*TYPES, *SHORT, *PROMPTS))
    near = get_close_matches(kind.upper(), names, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"'{kind}' is no type of the peft library.{hint} Known: {', '.join(names)}."


def why_not_prompt(kind: str, options: Mapping[str, Any]) -> str | None:
    """A sentence when a learned prompt cannot be made of its options, else None; of other types always None."""
    if kind not in PROMPTS:
        return None
    length = options.get("num_virtual_tokens")
    if not isinstance(length, int) or length < 1:
        return f"peft {kind} needs to know how many tokens it learns: set peft.num_virtual_tokens, to 20 say."
    if options.get("prompt_tuning_init") == "TEXT":
        return "prompt_tuning_init=TEXT asks the hub for a tokenizer; take SAMPLE_VOCAB or RANDOM."
    return None


def prompt_length(update: object) -> int:
    """Tokens of context that an update's learned prompt takes up; 0 for an update that has none."""
    options = getattr(update, "options", {}) if getattr(update, "type", None) in PROMPTS else {}
    length = options.get("num_virtual_tokens", 0)
    return length if isinstance(length, int) else 0
