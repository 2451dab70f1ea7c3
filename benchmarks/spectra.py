"""Intruder dimensions and spectra of a study's changes, against a plain SVD of each W0 + ΔW in one interleaved run.

12 layers of 768 × 768, q and v, the study's eleven methods × 3 seeds at rank 16 (chains of six links). Weights and
changes are synthetic: Gaussian, whose leading singular values lie closer together than those of trained weights do.
`python -m benchmarks.spectra [LAYERS] > benchmarks/results/spectra.md`; a minute of CPU time for each layer.
"""

import random
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import scipy
import torch
from torch import Tensor

from harness.diagnostics.factors import Change, Factors, dense
from harness.diagnostics.geometry import geometry
from harness.diagnostics.intruders import Decomposition, decompose, largest_cosines
from harness.measure.environment import provenance

WIDTH, RANK, LINKS, SEEDS, LEADING, TARGETS = 768, 16, 6, 3, 10, ("q", "v")
SIZE = 0.25  # ‖ΔW‖_F / ‖W0‖_F: enough for intruders
GOAL, EQUAL = 5.0, 1e-6
PLAIN, ALL, TOP, DENSE, CORE = "plain SVD", "all", "top", "dense spectrum", "core spectrum"


def _random_factors(rank: int, rng: torch.Generator) -> Change:
    return Factors(torch.randn(WIDTH, rank, generator=rng), torch.randn(rank, WIDTH, generator=rng))


def _columns(columns: Tensor, rng: torch.Generator) -> Change:
    return Factors(torch.randn(WIDTH, len(columns), generator=rng), torch.eye(WIDTH)[columns])


def _drawn(rng: torch.Generator) -> Tensor:
    return torch.randperm(WIDTH, generator=rng)[:RANK]


def _windows(rng: torch.Generator) -> Tensor:
    starts = RANK * torch.randperm(WIDTH // RANK, generator=rng)[:LINKS]
    return (starts[:, None] + torch.arange(RANK)).flatten()


METHODS: Mapping[str, Callable[[torch.Generator], Change]] = {
    "fft": lambda rng: torch.randn(WIDTH, WIDTH, generator=rng),
    "lora": lambda rng: _random_factors(RANK, rng),
    "lora_plus": lambda rng: _random_factors(RANK, rng),
    "asym": lambda rng: _random_factors(RANK, rng),
    "cola": lambda rng: _random_factors(LINKS * RANK, rng),
    "rac": lambda rng: _random_factors(LINKS * RANK, rng),
    "cla": lambda rng: _columns(torch.arange(RANK), rng),
    "r_cla": lambda rng: _columns(_drawn(rng), rng),
    "c3la": lambda rng: _columns(torch.arange(LINKS * RANK), rng),
    "r_c3la": lambda rng: _columns(_windows(rng), rng),
    "paca": lambda rng: _columns(_drawn(rng), rng),
}

HEAD = f"""# Intruder dimensions and spectra of a study's changes

`python -m benchmarks.spectra {{layers}}`: {{count}} weights of {WIDTH} × {WIDTH} (the study's 12 layers are 24),
{len(METHODS)} methods × {SEEDS} seeds: {{changes}} changes, in float64. CPU time of one thread, median of a
method's changes, and how many times as fast; all paths of a change in turn, in an order drawn anew.
"""
WHY = """
All vectors take the eigendecomposition of a full symmetric matrix, which alone is a third of an SVD: a low rank of
the change does not make it smaller. The first vectors of a change with factors come from Lanczos' method.
"""


@dataclass
class Timings:
    """CPU seconds by path, one for each change; those of decomposing W0; the largest difference from plain SVD."""

    seconds: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    decomposing: float = 0.0
    difference: float = 0.0


def main(words: list[str]) -> int:
    torch.set_num_threads(1)
    layers = int(words[0]) if words else 12
    timings = Timings()
    for module in range(layers * len(TARGETS)):
        _measure(module, timings)
    return _print(layers, timings)


def _measure(module: int, timings: Timings) -> None:
    """All changes of one weight, in an order drawn anew."""
    weight = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(module))
    elapsed, base = _timed(lambda: decompose(weight))
    timings.decomposing += elapsed
    changes = [(method, seed) for method in METHODS for seed in range(SEEDS)]
    for method, seed in random.sample(changes, len(changes)):
        change = _scaled(METHODS[method](torch.Generator().manual_seed(1000 * module + seed)), weight)
        _one_change(method, weight, base, change, timings)


def _one_change(method: str, weight: Tensor, base: Decomposition, change: Change, timings: Timings) -> None:
    paths: Mapping[str, Callable[[], Tensor]] = {
        PLAIN: lambda: _plain(weight, base, change),
        ALL: lambda: largest_cosines(base, change),
        TOP: lambda: largest_cosines(base, change, LEADING),
        DENSE: lambda: torch.linalg.svdvals(dense(change)),
        CORE: lambda: torch.tensor(geometry(weight, change).spectrum, dtype=torch.float64),
    }
    answers = {}
    for path in random.sample(list(paths), len(paths)):
        elapsed, answers[path] = _timed(paths[path])
        timings.seconds.setdefault((method, path), []).append(elapsed)
    spectrum, oracle = answers[CORE], answers[DENSE][: len(answers[CORE])]
    timings.difference = max(
        timings.difference,
        float((answers[ALL] - answers[PLAIN]).abs().max()),
        float((answers[TOP] - answers[PLAIN][:LEADING]).abs().max()),
        float((spectrum - oracle).abs().max() / oracle[0]),
    )


def _plain(weight: Tensor, base: Decomposition, change: Change) -> Tensor:
    """What the published code does with each W0 + ΔW, in float64."""
    vectors = torch.linalg.svd(weight.double() + dense(change), full_matrices=False).U
    return (base.u.T @ vectors).abs().amax(0)


def _scaled(change: Change, weight: Tensor) -> Change:
    scale = SIZE * float(torch.linalg.norm(weight) / torch.linalg.norm(dense(change)))
    return Factors(scale * change.b, change.a) if isinstance(change, Factors) else scale * change


def _timed(path: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    answer = path()
    return time.process_time() - start, answer


def _print(layers: int, timings: Timings) -> int:
    facts = provenance("cpu")
    versions = f"torch {facts['packages']['torch']}, scipy {scipy.__version__}"
    count = layers * len(TARGETS)
    print(HEAD.format(layers=layers, count=count, changes=count * len(METHODS) * SEEDS))
    print(f"{facts['device']['name']}; {versions}; python {facts['python']}\n")
    print(f"| method | SVD of W0 + ΔW | cosines, all vectors | the first {LEADING} | SVD of ΔW | from its factors |")
    print("|---|--:|--:|--:|--:|--:|")
    for method in METHODS:
        plain, whole, top, dense_one, core = (
            median(timings.seconds[method, p]) for p in (PLAIN, ALL, TOP, DENSE, CORE)
        )
        cells = (f"{1e3 * plain:.0f} ms", _cell(plain, whole), _cell(plain, top), f"{1e3 * dense_one:.0f} ms")
        print(f"| {method} | {' | '.join(cells)} | {_cell(dense_one, core)} |")
    return _print_goals(timings)


def _cell(slow: float, fast: float) -> str:
    return f"{1e3 * fast:.1f} ms, × {slow / fast:,.1f}"


def _print_goals(timings: Timings) -> int:
    total = {
        path: sum(sum(timings.seconds[method, path]) for method in METHODS) for path in (PLAIN, ALL, TOP, DENSE, CORE)
    }
    own = timings.decomposing  # of W0, which every path needs once
    ratios = {
        f"the first {LEADING} vectors": (total[PLAIN] + own) / (total[TOP] + own),
        "all vectors": (total[PLAIN] + own) / (total[ALL] + own),
        "spectra of the changes": total[DENSE] / total[CORE],
        "all vectors and spectra": (total[PLAIN] + total[DENSE] + own) / (total[ALL] + total[CORE] + own),
    }
    print(f"\nThe whole study, with the {own:.1f} s of decomposing each W0 once on both sides:\n")
    for name, ratio in ratios.items():
        print(f"* {'met' if ratio >= GOAL else 'MISSED'}: {name} at least {GOAL:.0f} × as fast (× {ratio:.1f})")
    is_equal = timings.difference <= EQUAL
    print(f"* {'met' if is_equal else 'MISSED'}: equal to {EQUAL:.0e} (largest difference {timings.difference:.1e})")
    print(WHY, end="")
    return 0 if is_equal and min(ratios.values()) >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
