"""What a plan says of a step's memory, against the ledger of the same step on a real device."""

from contextlib import nullcontext

import pytest
import torch

from harness.config.resolve import Resolver
from harness.measure.memory_breakdown import measure_ledger
from harness.measure.meta_device import cuda_semantics, meta_hints
from harness.models.config import layout_of
from harness.models.load import build_from_config
from harness.probe.backbone import Backbone
from harness.probe.entrants import method_entrant
from tests.parts import part_of

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
RESOLVER = Resolver()
PAIRS = [
    ("roberta_base", "cola"), ("deberta_v3_base", "cola"), ("vit_base", "cifar10"), ("gpt2_small", "e2e"),
    ("tinyllama", "django"),
]  # fmt: skip
TOKENS = 64


def _ledger(model_name: str, dataset: str, method: str, bfloat16: bool, device: str) -> dict[str, float]:
    model = part_of(RESOLVER, "model", (f"model={model_name}", "model.size=tiny")).spec
    task = part_of(RESOLVER, "dataset", (f"dataset={dataset}",)).spec.task
    built = build_from_config(model, task, device=device)
    built.config.pad_token_id = None  # nothing is padded
    if model.kind == "image_encoder":
        size = built.config.image_size
        inputs, targets = {"pixel_values": torch.zeros(4, 3, size, size)}, torch.zeros(4, dtype=torch.long)
    else:
        ids = torch.ones(4, TOKENS, dtype=torch.long)
        inputs, targets = {"input_ids": ids}, ids if model.kind == "decoder" else ids[:, 0]
    inputs = {name: value.to(device) for name, value in inputs.items()}
    backbone = Backbone(built, layout_of(model, task), inputs, targets.to(device), targets.numel())
    spec = part_of(RESOLVER, "method", (f"method={method}",)).spec
    if device == "meta":
        with meta_hints():
            entrant = method_entrant(spec, backbone, lambda: cuda_semantics(bfloat16=bfloat16), 0)
            found = measure_ledger(entrant.model, entrant.forward_backward, entrant.optimizer)
    else:
        cast = (lambda: torch.autocast("cuda", torch.bfloat16)) if bfloat16 else nullcontext
        entrant = method_entrant(spec, backbone, cast, 0)
        found = measure_ledger(entrant.model, entrant.forward_backward, entrant.optimizer)
    return {role: quantity.value for role, quantity in found.items()}


@pytest.mark.parametrize("bfloat16", [True, False])
@pytest.mark.parametrize("method", ["full", "lora", "cla", "paca"])
@pytest.mark.parametrize(("model", "dataset"), PAIRS)
def test_a_step_counted_on_shapes_holds_what_it_holds_on_the_device(
    model: str, dataset: str, method: str, bfloat16: bool
) -> None:
    shapes, real = (_ledger(model, dataset, method, bfloat16, device) for device in ("meta", "cuda"))
    saved, expected = shapes.pop("saved_for_backward"), real.pop("saved_for_backward")
    assert shapes == real
    assert saved == pytest.approx(expected, rel=0.03)  # attention kernels round their float32 rows up, and keep a seed
