"""Our training loop against a bare PyTorch loop on the same work, interleaved: the ratio should be at most 1.03.

Both train one model with the same batches, rates and clipping; the bare one measures, logs and checks nothing.
Each round times a block of steps of one, then of the other, in an order drawn anew.
"""

import json
import random
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from harness.config.resolve import Resolver
from harness.config.settings import Settings, settings_from
from harness.ledger.events import Events
from harness.ledger.parse import parse
from harness.ledger.paths import RunPaths
from harness.ledger.spec import RunSpec
from harness.measure.clocks import Clocks
from harness.planning.plan import plan_one, read_request
from harness.training.context import RunContext, TrainState
from harness.training.loop import train
from harness.training.optimizer import build_optimizer, set_rate, trained
from harness.training.run import load
from harness.training.schedule import train_schedule

WORDS = ["method=lora", "recipe.evaluations=1", "tracker=none", "device=cpu"]
WORK = {  # steps of some 10 ms, where a loop's own cost shows, and steps of some 200 ms
    "vit_micro/digits": (["model=vit_micro", "dataset=digits"], 60),
    "minilm/stdlib_docs": (["model=minilm", "dataset=stdlib_docs"], 4),
}
ROUNDS = 22


def main() -> int:
    torch.set_num_threads(1)  # one thread: the scheduler of a small machine is the larger noise
    results = {name: _compare(words, block) for name, (words, block) in WORK.items()}
    for name, ratios in results.items():
        print(f"{name}: bare {ratios['bare_ms']:.2f} ms a step, ours {ratios['ours_ms']:.2f} ms")
        for clock in ("cpu", "wall"):
            low, mid, high = ratios[clock]
            print(f"  ratio {mid:.3f} of {clock} time (median of {ROUNDS - 2} rounds; 5–95 %: {low:.3f}–{high:.3f})")
    print(json.dumps(results))
    return 0 if all(ratios["cpu"][1] <= 1.03 for ratios in results.values()) else 1


def _compare(words: list[str], block: int) -> dict[str, Any]:
    """Ratios ours / bare of CPU time (what the loop costs) and of wall time (what other programs disturb)."""
    with tempfile.TemporaryDirectory() as folder:
        request = read_request([*WORDS, *words, f"runs={folder}"])
        planned, settings = plan_one(request, Resolver()), settings_from(request.config)
        spec = parse(RunSpec, planned.spec, "run")
        ours, bare = (_parts(spec, settings, Path(folder) / name) for name in ("ours", "bare"))
        loops = {"ours": _Ours(ours, block), "bare": _Bare(bare, block)}
        rounds = []
        for _ in range(ROUNDS):
            times = {}
            for name in random.sample(list(loops), 2):
                cpu, wall = time.process_time(), time.perf_counter()
                loops[name].block()
                times[name] = (time.process_time() - cpu, time.perf_counter() - wall)
            rounds.append(times)
    rounds = rounds[2:]  # the first rounds warm both up
    ratios = {clock: [r["ours"][i] / r["bare"][i] for r in rounds] for i, clock in enumerate(("cpu", "wall"))}
    steps = {f"{name}_ms": 1e3 * statistics.median(r[name][1] for r in rounds) / block for name in loops}
    return steps | {clock: _spread(values) for clock, values in ratios.items()}


def _spread(values: list[float]) -> tuple[float, float, float]:
    cuts = statistics.quantiles(values, n=20)
    return cuts[0], statistics.median(values), cuts[-1]


def _parts(spec: RunSpec, settings: Settings, folder: Path) -> RunContext:
    folder.mkdir()
    device = torch.device("cpu")
    return load(spec, RunPaths(folder), settings, device, Clocks(device), Events(folder / "events.jsonl"))


class _Ours:
    """Our loop, stopped after each block of steps."""

    def __init__(self, context: RunContext, block: int) -> None:
        self.context, self.steps, self.state = context, block, TrainState()
        self.optimizer = build_optimizer(context.method, context.spec.recipe)
        self.schedule = train_schedule(context.spec.recipe, 1_000_000)

    def block(self) -> None:
        schedule = replace(self.schedule, total=self.state.step + self.steps, evaluations=frozenset())
        train(self.context, self.state, self.optimizer, schedule, save_every=1e9, stop=lambda: False)


class _Bare:
    """What one writes by hand."""

    def __init__(self, context: RunContext, block: int) -> None:
        self.context, self.steps = context, block
        self.optimizer = build_optimizer(context.method, context.spec.recipe)
        self.schedule = train_schedule(context.spec.recipe, 1_000_000)
        self.step, self.batches = 0, context.loader.steps(0)

    def block(self) -> None:
        context, model = self.context, self.context.model.train()
        for _ in range(self.steps):
            (batch,) = next(self.batches)
            set_rate(self.optimizer, self.schedule.rate(self.step))
            loss = context.task.losses(model, batch).sum() / batch.weight
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained(self.optimizer), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.step += 1


if __name__ == "__main__":
    sys.exit(main())
