"""The two files of an adapter as `peft` writes and reads them, and where the weights below it are from."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.new_folder import new_folder
from harness.ledger.dataset_spec import ImageClassification, Regression, TaskSpec, TextClassification
from harness.ledger.model_spec import HubModel, ModelSpec
from harness.ledger.paths import to_json, write_whole

if TYPE_CHECKING:
    from harness.models.loaded import LoadedModel
    from methods.method import Method

AT_HUB = {"minilm": "sentence-transformers/all-MiniLM-L6-v2"}  # the same file, by its SHA-256


def hub_id(spec: ModelSpec) -> str | None:
    """Where anybody finds the base model; None for one that was made here."""
    if spec.size == "tiny":
        return None
    return spec.source.id if isinstance(spec.source, HubModel) else AT_HUB.get(spec.source.builder)


def adapter_of(
    method: "Method", loaded: "LoadedModel", task: TaskSpec, elsewhere: Path | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Config and tensors of a whole adapter, its head among them; `elsewhere` as in `base_of`.

    Raises MethodError where there is none.
    """
    from methods.export import peft_adapter

    config, tensors = peft_adapter(method)
    return config | base_of(loaded, elsewhere) | _task_type(loaded, task), tensors


def base_of(loaded: "LoadedModel", elsewhere: Path | None) -> dict[str, Any]:
    """As peft's own adapters say it. `elsewhere`: the folder of a base that is at no hub; None where it has none."""
    commit = loaded.revision if re.fullmatch("[0-9a-f]{40}", loaded.revision) else None
    place = hub_id(loaded.spec) or (None if elsewhere is None else str(elsewhere))
    return {"base_model_name_or_path": place, "revision": commit}


def _task_type(loaded: "LoadedModel", task: TaskSpec) -> dict[str, Any]:
    """Which of peft's classes loads it; there is none for images, and the model's own class stands for it."""
    if isinstance(task, ImageClassification):
        kind = type(loaded.model)
        return {"auto_mapping": {"base_model_class": kind.__name__, "parent_library": kind.__module__}}
    return {"task_type": "SEQ_CLS" if isinstance(task, TextClassification | Regression) else "CAUSAL_LM"}


def write_adapter(config: dict[str, Any], tensors: dict[str, Any], folder: Path) -> None:
    """Into a folder that is there."""
    from safetensors.torch import save_file

    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    write_whole(folder / "adapter_config.json", to_json(config))


def save_updates(method: "Method", loaded: "LoadedModel", folder: Path) -> None:
    """A new folder with the updates of a method as it is now and no head: of several tasks none is the adapter's.

    Raises MethodError where an update is not of low rank.
    """
    from methods.export import peft_adapter

    config, tensors = peft_adapter(method)
    config |= base_of(loaded, None) | {"modules_to_save": None}
    with new_folder(folder) as part:
        write_adapter(config, {name: tensor for name, tensor in tensors.items() if ".lora_" in name}, part)
