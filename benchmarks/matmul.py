"""Matrix products of a RoBERTa-base training step: PyTorch's own float32 kernel against oneDNN's, interleaved.

A run uses oneDNN's where `harness.measure.cpu_matmul` names them. Ratios above 1 say how much faster they are here.
"""

import json
import random
import statistics
import sys
import time

import torch
from torch import Tensor

from harness.measure.cpu_matmul import matmul_kernels, onednn_product
from harness.measure.environment import device_name

ROUNDS = 20
TOKENS, WIDTH, INNER, RANK = 2048, 768, 3072, 16
SHAPES = {  # name: rows and columns of both factors; a transposed first factor is the gradient of a weight
    "q, k, v, o": (TOKENS, WIDTH, WIDTH, False),
    "up": (TOKENS, WIDTH, INNER, False),
    "down": (TOKENS, INNER, WIDTH, False),
    "up, 2017 tokens": (2017, WIDTH, INNER, False),
    "x·Aᵀ": (TOKENS, WIDTH, RANK, False),
    "weight gradient": (INNER, TOKENS, WIDTH, True),
    "thin gradient": (INNER, TOKENS, RANK, True),
}


def main() -> int:
    cpu = torch.device("cpu")
    print(f"{device_name(cpu)}, {torch.get_num_threads()} threads; runs here use {matmul_kernels(cpu)}'s products")
    results = {name: _compare(*shape) for name, shape in SHAPES.items()}
    for name, (own, onednn, low, ratio, high) in results.items():
        spread = f"{ratio:.2f} (5–95 %: {low:.2f}–{high:.2f})"
        print(f"{name:16} PyTorch {own:6.2f} ms, oneDNN {onednn:6.2f} ms, ratio {spread}")
    print(json.dumps(results))
    return 0


def _compare(m: int, k: int, n: int, transposed: bool) -> tuple[float, float, float, float, float]:
    """Median ms of both, and the ratio with its 5 % and 95 % (5 %, median, 95 %)."""
    a = torch.randn(k, m).t() if transposed else torch.randn(m, k)
    b = torch.randn(k, n)
    rounds = [_round(a, b) for _ in range(ROUNDS + 2)][2:]  # the first ones warm both up
    cuts = statistics.quantiles([own / onednn for own, onednn in rounds], n=20)
    own, onednn = (statistics.median(side) for side in zip(*rounds, strict=True))
    return own, onednn, cuts[0], cuts[9], cuts[-1]


def _round(a: Tensor, b: Tensor) -> tuple[float, float]:
    """Milliseconds of one product by PyTorch's kernel and by oneDNN's, in an order drawn anew."""
    kernels = {"own": lambda: torch.mm(a, b), "onednn": lambda: onednn_product(a, b, None)}
    milliseconds = {}
    for name in random.sample(list(kernels), 2):
        before = time.perf_counter()
        kernels[name]()
        milliseconds[name] = 1e3 * (time.perf_counter() - before)
    return milliseconds["own"], milliseconds["onednn"]


if __name__ == "__main__":
    sys.exit(main())
