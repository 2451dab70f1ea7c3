"""Pretrained weights from a folder in the hub's layout.

Safetensors, or, where the card says so, pytorch_model.bin with weights_only. Refuses weights that do not fit the card.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.ledger.dataset_spec import TaskSpec
from harness.ledger.errors import DataError, NotHere
from harness.ledger.model_spec import ModelSpec
from harness.models.config import DTYPES, layout_of, make_config
from harness.models.families import family_of, model_class
from harness.models.quantise import loading_options
from harness.models.quiet import quiet

LM_HEAD = "lm_head"  # of every family here


def load_weights(
    spec: ModelSpec, task: TaskSpec, folder: Path, *, safetensors: bool = True, **changes: Any
) -> tuple[nn.Module, frozenset[str]]:
    """The model of `spec` with the weights of `folder`, and which parameters of the head are to be drawn: those that
    the folder lacks, or has in another shape.

    Raises DataError when weights outside of the head are missing or do not fit the card's config.
    """
    head, renamed = layout_of(spec, task).head, family_of(spec).renamed
    packing = loading_options(spec, (*head, LM_HEAD))
    with quiet(), torch.random.fork_rng(devices=[]):
        try:
            model, info = model_class(spec, task).from_pretrained(
                folder,
                config=make_config(spec, task, **changes),
                dtype=DTYPES[spec.dtype],
                use_safetensors=safetensors,  # else torch.load with weights_only, which transformers insists on
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                local_files_only=True,
                key_mapping=renamed and dict(renamed),
                **packing,
            )
        except (OSError, RuntimeError) as error:
            raise NotHere(f"model {spec.name}: cannot load the weights in {folder}: {_first_line(error)}") from error
    drawn = frozenset({*info["missing_keys"], *(key[0] for key in info["mismatched_keys"])})
    if strange := sorted(name for name in drawn if not _inside(name, head)):
        raise DataError(
            f"model {spec.name}: {folder} has no fitting weights for {', '.join(strange[:3])}; correct the card."
        )
    return model.eval(), drawn


def stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of each file: other weights in the same place have another."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return tuple((path.name, (state := path.stat()).st_size, state.st_mtime_ns) for path in files)


def _inside(name: str, paths: tuple[str, ...]) -> bool:
    return any(name.startswith(f"{path}.") for path in paths)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
