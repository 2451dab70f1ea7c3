"""k seeds of one LoRA cell in one forward through the frozen backbone, against k runs one after the other.

python benchmarks/stacking.py                 on a CPU, one thread, by CPU time
python benchmarks/stacking.py --device cuda   on a GPU, by wall time
Each seed has batches, adapters and a head of its own: what is shared is the weights that are read, and the calls.
First it is held against separate runs in float64; then each round times both, in an order drawn anew. The models are
BERT's shapes with random weights, plain torch and transformers: nothing of the harness's.
"""

import argparse
import copy
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BertConfig, BertModel

RANK, SCALE, CLASSES, WORDS = 8, 2.0, 5, 1000
ADAPTED = ("query", "value")
CLAIM = 1.3  # a gain below this is not worth an option


@dataclass(frozen=True)
class Shape:
    name: str
    layers: int
    hidden: int
    heads: int


SHAPES = {
    "cpu": (Shape("tiny", 4, 64, 4), Shape("MiniLM", 6, 384, 12)),
    "cuda": (Shape("tiny", 4, 64, 4), Shape("MiniLM", 6, 384, 12), Shape("RoBERTa-base", 12, 768, 12)),
}
# Rows and tokens; 32 × 17 is the default recipe's batch of the 8 × 8 images.
BATCHES = {"cpu": ((2, 16), (8, 32), (32, 17), (16, 64)), "cuda": ((8, 32), (16, 128), (32, 128))}


class StackedLinear(nn.Module):
    """x (k·rows, …, in) to W·x + b + s·B_i·A_i·x: seed i has the i-th part of the rows. Without W it is a head.

    a: (k, r, in), b: (k, out, r); only these are trained.
    """

    def __init__(self, base: nn.Linear | None, a: Tensor, b: Tensor) -> None:
        super().__init__()
        self.base, self.a, self.b = base, nn.Parameter(a), nn.Parameter(b)

    def forward(self, x: Tensor) -> Tensor:
        parts = x.reshape(len(self.a), -1, x.shape[-1])
        update = (parts @ self.a.mT @ self.b.mT).reshape(*x.shape[:-1], -1)
        return SCALE * update if self.base is None else self.base(x) + SCALE * update


class Stack(nn.Module):
    """The backbone with the adapters and heads of these seeds, and their optimizer."""

    def __init__(self, backbone: BertModel, seeds: Sequence[int], lr: float = 1e-3) -> None:
        super().__init__()
        self.seeds = seeds
        self.model = copy.deepcopy(backbone).requires_grad_(False)
        draws = [torch.Generator().manual_seed(seed) for seed in seeds]

        def factors(rows: int, columns: int) -> Tensor:
            drawn = [torch.randn(rows, columns, generator=draw, dtype=torch.float64) for draw in draws]
            return torch.stack(drawn).to(self.model.device, self.model.dtype) / columns**0.5

        for layer in self.model.encoder.layer:
            for name in ADAPTED:
                base = getattr(layer.attention.self, name)
                b = torch.zeros(len(seeds), base.out_features, RANK).to(base.weight)
                setattr(layer.attention.self, name, StackedLinear(base, factors(RANK, base.in_features), b))
        hidden = self.model.config.hidden_size
        self.head = StackedLinear(None, factors(RANK, hidden), factors(CLASSES, RANK))
        trained = [p for p in self.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=lr, foreach=True)

    def step(self, texts: Tensor, labels: Tensor) -> Tensor:
        """texts (k, rows, tokens), labels (k, rows): one optimizer step of every seed; the loss of each, (k,)."""
        hidden = self.model(texts.flatten(0, 1)).last_hidden_state[:, 0]
        losses = F.cross_entropy(self.head(hidden), labels.flatten(), reduction="none").view(labels.shape).mean(1)
        losses.sum().backward()  # no seed's loss depends on another's adapters
        self.optimizer.step()
        self.optimizer.zero_grad()
        return losses.detach()


def backbone(shape: Shape, dtype: torch.dtype, device: str) -> BertModel:
    """Random weights; no dropout."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.hidden,
    )
    return BertModel(config, add_pooling_layer=False).to(device, dtype).eval()


def batches(k: int, rows: int, tokens: int, device: str, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Texts (k, rows, tokens) and labels (k, rows) at random: every seed has its own order of data."""
    draw = torch.Generator().manual_seed(seed)
    texts = torch.randint(WORDS, (k, rows, tokens), generator=draw)
    return texts.to(device), torch.randint(CLASSES, (k, rows), generator=draw).to(device)


def difference(k: int, steps: int, device: str) -> float:
    """The largest difference in float64 between stacked and separate runs: of any loss and any trained number."""
    base = backbone(SHAPES["cpu"][0], torch.float64, device)
    together, alone = Stack(base, range(k)), [Stack(base, [seed]) for seed in range(k)]
    worst = 0.0
    for step in range(steps):
        texts, labels = batches(k, 4, 16, device, step)
        losses = together.step(texts, labels)
        for i, run in enumerate(alone):
            worst = max(worst, float((losses[i] - run.step(texts[i : i + 1], labels[i : i + 1])).abs().max()))
    for i, run in enumerate(alone):
        for stacked, own in zip(together.parameters(), run.parameters(), strict=True):
            if stacked.requires_grad:
                worst = max(worst, float((stacked[i] - own[0]).detach().abs().max()))
    return worst


def gains(shape: Shape, k: int, rows: int, tokens: int, device: str, rounds: int) -> list[float]:
    """Of each round: the time of k separate steps over that of one stacked step."""
    base = backbone(shape, torch.float32, device)
    together, alone = Stack(base, range(k)), [Stack(base, [seed]) for seed in range(k)]
    texts, labels = batches(k, rows, tokens, device)

    def separate() -> None:
        for i, run in enumerate(alone):
            run.step(texts[i : i + 1], labels[i : i + 1])

    work = {"together": lambda: together.step(texts, labels), "separate": separate}
    found = []
    for _ in range(rounds + 2):
        times = {name: _seconds(work[name], device) for name in random.sample(list(work), 2)}
        found.append(times["separate"] / times["together"])
    return found[2:]  # the first rounds warm both up


def _seconds(work: Callable[[], object], device: str) -> float:
    """CPU time on a CPU, which other programs disturb less; wall time on a GPU."""
    if device == "cpu":
        begun = time.process_time()
        work()
        return time.process_time() - begun
    torch.cuda.synchronize()
    begun = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{given.seeds} seeds; largest difference from separate runs, float64, 20 steps: ", end="")
    print(f"{difference(given.seeds, 20, given.device):.1e}\n")
    print("| shape | rows × tokens of a seed | gain | 5 to 95 % of the rounds |\n|---|---|---|---|")
    for shape in SHAPES[given.device]:
        for rows, tokens in BATCHES[given.device]:
            found = gains(shape, given.seeds, rows, tokens, given.device, given.rounds)
            cuts, middle = statistics.quantiles(found, n=20), statistics.median(found)
            print(f"| {shape.name} | {rows} × {tokens} | {middle:.2f} | {cuts[0]:.2f} to {cuts[-1]:.2f} |", flush=True)
    print(f"\ngain: time of {given.seeds} separate steps over that of a stacked one; {CLAIM} would be worth an option")


if __name__ == "__main__":
    main()
