"""Makes the weights of model=gemma3_micro: `python -m harness.models.gemma3_micro_build FILE` (a minute on one core).

A model that has learnt nothing has nothing to adapt, and answers of one word teach a new one nothing within minutes;
whole descriptions of scenes do. Seeded and single-threaded. Another machine's floats may differ in the last digits,
which is why the weights are part of the project.
"""

import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from harness.config.overrides import expand, parse_words
from harness.config.resolve import Resolver
from harness.data.builtin.shapes_vqa import Thing, caption, draw, scene
from harness.ledger.dataset_spec import CausalLM, Prompt
from harness.ledger.model_spec import ModelSpec
from harness.ledger.paths import write_whole
from harness.models.config import draw_projector, make_config
from harness.models.families import model_class
from harness.models.gemma3_micro import PROCESSOR, micro_tokenizer
from harness.models.loaded import VisionProcessor

STEPS, BATCH, LR, WARMUP = 500, 32, 2e-3, 50
SEED = 0
TASK = CausalLM("causal_lm", Prompt("", "", "", "right"), "", True, 1)  # any that needs next-token logits


class Captions:
    """Batches of scenes and their descriptions."""

    def __init__(self, spec: ModelSpec) -> None:
        self._tokenizer = micro_tokenizer()
        tokens = spec.config["mm_tokens_per_image"]
        self._start = f"{VisionProcessor(self._tokenizer, PROCESSOR, tokens).image_text} describe :"
        self._soft = self._tokenizer.convert_tokens_to_ids("<image_soft_token>")

    def batch(self, scenes: Sequence[Sequence[Thing]]) -> tuple[dict[str, Tensor], Tensor]:
        """Inputs of the model, and (batch, tokens) labels: a description's tokens and the end, -100 elsewhere."""
        texts = [f"{self._start} {caption(things)} <eos>" for things in scenes]
        read = self._tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
        ids, attention = read["input_ids"], read["attention_mask"]
        prompt = len(self._tokenizer(self._start).input_ids)
        target = (torch.arange(ids.shape[1]) >= prompt) & (attention == 1)
        pixels = np.stack([np.asarray(draw(things)) for things in scenes])
        inputs = {
            "input_ids": ids,
            "attention_mask": attention,
            "token_type_ids": (ids == self._soft).long(),
            "pixel_values": (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5,
        }
        return inputs, torch.where(target, ids, -100)


def pretrained(spec: ModelSpec, steps: int = STEPS) -> nn.Module:
    """The model of the card after so many steps over scenes drawn from SEED. Draws from a generator of its own."""
    captions, rng = Captions(spec), random.Random(SEED)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model: Any = model_class(spec, TASK)._from_config(make_config(spec, TASK), dtype=torch.float32).train()
        draw_projector(model, SEED)
        optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
        warmup = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / WARMUP, total_iters=WARMUP)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS - WARMUP)
        rate = torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, cosine], [WARMUP])
        for _ in range(steps):
            inputs, labels = captions.batch([scene(rng) for _ in range(BATCH)])
            logits = model(**inputs).logits[:, :-1]
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            rate.step()
    return model.eval()


@torch.no_grad()
def share_described(model: nn.Module, spec: ModelSpec, scenes: int = 300, seed: int = 1) -> float:
    """Share of new scenes that the model describes without a mistake: each token the likeliest after the true ones."""
    rng = random.Random(seed)
    inputs, labels = Captions(spec).batch([scene(rng) for _ in range(scenes)])
    best = model(**inputs).logits[:, :-1].argmax(-1)
    right = (best == labels[:, 1:]) | (labels[:, 1:] == -100)
    return float(right.all(dim=1).float().mean())


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """What the weights file holds; the output layer is the embedding, and is not in it twice."""
    return {name: value.contiguous() for name, value in model.state_dict().items() if name != "lm_head.weight"}


def main(argv: Sequence[str]) -> int:
    torch.set_num_threads(1)
    chosen = [word for override in parse_words(["model=gemma3_micro"]) for word in expand(override)]
    spec = Resolver().part("model", chosen).spec
    model = pretrained(spec)
    print(f"described without a mistake: {share_described(model, spec):.3f} of 300 new scenes")
    write_whole(Path(argv[0]), save(tensors(model)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
