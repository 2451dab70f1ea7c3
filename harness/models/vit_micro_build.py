"""Makes the weights of model=vit_micro: `python -m harness.models.vit_micro_build FILE` (some seconds on one core).

Seeded and single-threaded. Another machine's floats differ, which is why the weights are part of the project.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from harness.config.overrides import assign
from harness.config.resolve import Resolver
from harness.data.builtin.digits import images_of
from harness.ledger.dataset_spec import TaskSpec
from harness.ledger.model_spec import ModelSpec
from harness.ledger.paths import write_whole
from harness.models.config import make_config
from harness.models.families import model_class
from harness.models.vit_micro import DIGITS, pixels_of

EPOCHS, BATCH, LR = 15, 64, 1e-3  # ours: where the training loss comes to rest; 0.98 on held-out images of 0 to 4
SEED = 0  # of the pretraining; never a run's


def pretrained(spec: ModelSpec, task: TaskSpec, epochs: int = EPOCHS) -> nn.Module:
    """The model of the card after so many passes over all images. Draws from a generator of its own."""
    images, labels = images_of(DIGITS)
    pixels, targets = pixels_of(images), torch.from_numpy(labels).long()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        config = make_config(spec, task)
        config.num_labels = len(DIGITS)
        model: Any = model_class(spec, task)(config).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.05)
        steps = epochs * -(-len(targets) // BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=LR, total_steps=steps)
        for _ in range(epochs):
            for rows in torch.randperm(len(targets)).split(BATCH):
                loss = nn.functional.cross_entropy(model(pixel_values=pixels[rows]).logits, targets[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    return model.eval()


def main(argv: Sequence[str]) -> int:
    torch.set_num_threads(1)
    resolver = Resolver()
    spec = resolver.part("model", [assign("model", "vit_micro")]).spec
    task = resolver.part("dataset", [assign("dataset", "digits")]).spec.task
    write_whole(Path(argv[0]), save(pretrained(spec, task).state_dict()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
