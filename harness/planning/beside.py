"""What updates keep beside weights that they cannot write, found on shapes: columns, and finished links of a chain.

Packed weights are such, and sharded ones. It is whole on every GPU.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from harness.ledger.seeds import Seeds
from harness.ledger.spec import RunSpec
from harness.measure.memory_breakdown import storage_bytes
from harness.models.config import layout_of
from harness.models.load import build_from_config
from harness.planning.links import finished_links
from methods.build import build
from methods.errors import MethodError
from methods.spec import Chain, Columns
from methods.update.base import SiteUpdate


def keep_beside(model: nn.Module, spec: RunSpec) -> None:
    """Let what updates keep beside packed weights count among the weights, as in the last link of a chain."""
    for update, tensors in _in_last_link(model, spec):
        for number, tensor in enumerate(tensors):
            update.register_buffer(f"beside_{number}", tensor, persistent=False)


def bytes_beside_shares(spec: RunSpec, layers: int) -> int:
    """Bytes that stay on every GPU beside sharded weights; 0 for packed ones, which are never sharded."""
    keeps = isinstance(spec.method.schedule, Chain) or isinstance(spec.method.update, Columns)
    if spec.model.quantization or not keeps:
        return 0
    task = spec.dataset.task
    model = build_from_config(spec.model, task, layers=layers, device="meta")
    try:
        build(spec.method, replace(layout_of(spec.model, task), writable=False)).attach(model, _draw(spec))
    except MethodError:  # one that must write its weights is refused where they are sharded
        return 0
    return storage_bytes(tensor for _, tensors in _in_last_link(model, spec) for tensor in tensors)


def _in_last_link(model: nn.Module, spec: RunSpec) -> Iterator[tuple[SiteUpdate, Sequence[Tensor]]]:
    links = finished_links(spec)
    for update in [module for module in model.modules() if isinstance(module, SiteUpdate)]:
        if links:
            update.to_link(links, _draw(spec))
        yield update, update.beside()


def _draw(spec: RunSpec) -> Any:
    seeds = Seeds(spec.seed)
    return lambda *use: torch.Generator().manual_seed(seeds.of(*use))
