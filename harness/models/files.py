"""Pretrained weights from a folder in the hub's layout, under a fresh head.

Safetensors, or, where the card says so, pytorch_model.bin with weights_only. Refuses weights that do not fit the card.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.utils import logging

from harness.ledger.dataset_spec import TaskSpec
from harness.ledger.errors import DataError, NotHere
from harness.ledger.model_spec import ModelSpec
from harness.ledger.seeds import Seeds
from harness.models.config import DTYPES, layout_of, make_config
from harness.models.families import family_of, model_class
from harness.models.head import draw_head


def load_weights(
    spec: ModelSpec, task: TaskSpec, seeds: Seeds, folder: Path, *, safetensors: bool = True, **changes: Any
) -> nn.Module:
    """The model of `spec` with the weights of `folder`; a head that it lacks, or has in another shape, is drawn.

    Raises DataError when weights outside of the head are missing or do not fit the card's config.
    """
    head, renamed = layout_of(spec, task).head, family_of(spec).renamed
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
            )
        except (OSError, RuntimeError) as error:
            raise NotHere(f"model {spec.name}: cannot load the weights in {folder}: {_first_line(error)}") from error
    drawn = {*info["missing_keys"], *(key[0] for key in info["mismatched_keys"])}
    if strange := sorted(name for name in drawn if not _inside(name, head)):
        raise DataError(
            f"model {spec.name}: {folder} has no fitting weights for {', '.join(strange[:3])}; correct the card."
        )
    draw_head(model, head, seeds.of("init", "head"), only=drawn)
    return model.eval()


def _inside(name: str, paths: tuple[str, ...]) -> bool:
    return any(name.startswith(f"{path}.") for path in paths)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' progress bar and its table of new head weights, which is no news here."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
