"""The base model that a PEFT adapter's folder names, as the adapter's task type and head ask for it."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from harness.ledger.errors import DataError
from harness.models.lora_folder import CONFIG, WEIGHTS
from harness.models.quiet import quiet

_HEADS = ("classifier.weight", "score.weight", "classifier.out_proj.weight")


def adapter_config(folder: Path) -> dict[str, Any]:
    """Raises DataError when the folder holds no adapter."""
    try:
        config = json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / CONFIG} cannot be read: {error}.") from error
    if not isinstance(config, dict) or not (folder / WEIGHTS).is_file():
        raise DataError(f"{folder} is no PEFT adapter: it needs {CONFIG} and {WEIGHTS}.")
    return config


def base_of(folder: Path) -> Any:
    """The base model in eval mode. Raises DataError when the adapter does not say it, or when it is not here."""
    config = adapter_config(folder)
    name = config.get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise DataError(f"{folder / CONFIG} names no base model (base_model_name_or_path); write its name or folder.")
    more = {"num_labels": outputs} if (outputs := _outputs(folder)) is not None else {}
    kind = _class(folder, config)
    try:
        with quiet():
            return kind.from_pretrained(name, revision=config.get("revision"), **more).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{folder}: its base model {name} cannot be loaded: {str(error).splitlines()[0]}") from error


def _class(folder: Path, config: dict[str, Any]) -> Any:
    import transformers

    kinds = {"CAUSAL_LM": "AutoModelForCausalLM", "SEQ_CLS": "AutoModelForSequenceClassification"}
    if (kind := kinds.get(str(config.get("task_type")))) is not None:
        return getattr(transformers, kind)
    own = config.get("auto_mapping") or {}
    library = str(own.get("parent_library"))
    if library.startswith("transformers.models."):
        return getattr(import_module(library), str(own.get("base_model_class")))
    raise DataError(f"{folder / CONFIG}: task_type is {config.get('task_type')!r}; known: {', '.join(kinds)}.")


def _outputs(folder: Path) -> int | None:
    """The width of the head that is saved with the adapter."""
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            heads = [name for name in file.keys() if name.endswith(_HEADS)]  # noqa: SIM118
            return file.get_slice(heads[0]).get_shape()[0] if heads else None
    except SafetensorError as error:
        raise DataError(f"{folder / WEIGHTS} cannot be read: {error}.") from error
