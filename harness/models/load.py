"""One place where a model comes from: the hub, an installed package, this project, or its config alone.

Imports only the transformers classes of the model's own family. Refuses remote code and pickled weights.
"""

from pathlib import Path

import torch
from torch import nn

from harness.ledger.dataset_spec import TaskSpec
from harness.ledger.errors import SpecError, nearest
from harness.ledger.model_spec import BuiltinModel, HubModel, ModelSpec
from harness.ledger.seeds import Seeds
from harness.models.config import DTYPES, make_config, text_config
from harness.models.families import model_class
from harness.models.loaded import LoadedModel

BUILDERS = ("gemma3_micro", "minilm", "vit_micro")
__all__ = ["LoadedModel", "build_from_config", "load_model"]


def load_model(spec: ModelSpec, task: TaskSpec, seeds: Seeds, cache: Path) -> LoadedModel:
    """The model with a fresh head for `task`, drawn from seeds.of("init", "head"): equal for all methods of a seed.

    Raises DataError when weights are not here or not what the card says, SpecError when the model cannot do the task.
    """
    if spec.size == "tiny":
        from harness.models.tiny import load_tiny

        return load_tiny(spec, task, seeds, cache)
    if isinstance(spec.source, HubModel):
        from harness.models.hub import load_hub

        return load_hub(spec, spec.source, task, seeds)
    return _builtin(spec, spec.source, task, seeds)


def build_from_config(
    spec: ModelSpec, task: TaskSpec, *, layers: int | None = None, device: str | torch.device = "cpu"
) -> nn.Module:
    """The same class from its card alone, with random weights (on "meta": none); `layers` makes it shallower.

    The efficiency probe and the exact counts need no download. Draws from the global generator.
    """
    config = make_config(spec, task)
    if layers is not None:
        text_config(config).num_hidden_layers = layers
    dtype = torch.float32 if spec.size == "tiny" else DTYPES[spec.dtype]
    with torch.device(device):
        return model_class(spec, task)._from_config(config, dtype=dtype).eval()


def _builtin(spec: ModelSpec, source: BuiltinModel, task: TaskSpec, seeds: Seeds) -> LoadedModel:
    if source.builder == "minilm":
        from harness.models.minilm import load_minilm

        return load_minilm(spec, task, seeds)
    if source.builder == "vit_micro":
        from harness.models.vit_micro import load_vit_micro

        return load_vit_micro(spec, task, seeds)
    if source.builder == "gemma3_micro":
        from harness.models.gemma3_micro import load_gemma3_micro

        return load_gemma3_micro(spec, task, seeds)
    raise SpecError(f"model.source.builder: unknown choice '{source.builder}'.{nearest(source.builder, BUILDERS)}")
