"""Planning 10,000 runs: ours, against Hydra's own composition of the same grid (one per cell).

Hydra is timed on a sample of the cells and scaled up: the whole grid would take it a quarter of an hour.
"""

import itertools
import statistics
import sys
import time

from hydra import compose, initialize_config_dir

from harness.config.compose import conf_dirs
from harness.config.resolve import Resolver
from harness.planning.plan import plan_sweep, read_request

METHODS = ("lora", "lora_plus", "asym", "cola", "rac", "cla", "r_cla", "c3la")
LRS = ("1e-4", "2e-4", "5e-4", "1e-3", "2e-3")
RANKS = ("2", "4", "8", "16")
SEEDS = 32
SAMPLE = 40
LEAST = 400  # times as fast as Hydra, on any machine


def main() -> int:
    words = [
        f"method={','.join(METHODS)}", f"method.update.rank={','.join(RANKS)}", f"recipe.lr={','.join(LRS)}",
        "model=minilm", "dataset=stdlib_docs,kinship", f"seed=range({SEEDS})",
    ]  # fmt: skip
    ours = []
    for _ in range(3):
        start = time.perf_counter()
        plan = plan_sweep(read_request(words), Resolver())
        ours.append(time.perf_counter() - start)
    cells = list(itertools.product(METHODS, RANKS, LRS, ("stdlib_docs", "kinship")))[:: 320 // SAMPLE]
    hydra = []
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dirs()[-1])):
        for method, rank, lr, dataset in cells:
            start = time.perf_counter()
            cell = [f"method={method}", f"method.update.rank={rank}", f"recipe.lr={lr}", "model=minilm"]
            compose("config", overrides=[*cell, f"dataset={dataset}", "seed=0"])
            hydra.append(time.perf_counter() - start)
    per_cell = statistics.median(hydra)
    runs, best = len(plan.runs), statistics.median(ours)
    print(f"{runs} runs planned in {best:.2f} s (median of 3; {1e6 * best / runs:.0f} µs a run)")
    print(
        f"Hydra composes one cell in {1e3 * per_cell:.0f} ms (median of {len(hydra)}): {per_cell * runs:.0f} s in all"
    )
    ratio = per_cell * runs / best
    print(f"ratio: {ratio:.0f} x")
    return 0 if ratio >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
