"""Our methods through `peft.get_peft_model` against the library's own LoRA and our harness, in one interleaved run.

RoBERTa-base shape, 4 layers, batch 16 × 128, r = 16, all linear layers, AdamW (fused), float32. CPU time of the process
per step, as a ratio to the library's LoRA of the same round; bytes saved for backward are exact and equal anywhere.
`python benchmarks/plugin.py` prints the table; a goal that is missed makes it fail, but for a time on a busy machine.
"""

import random
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from statistics import median

import torch
from peft import LoraConfig, get_peft_model

import methods.library
from harness.measure.clocks import pick_device
from harness.measure.cpu_matmul import fast_matmul
from harness.measure.memory_breakdown import measure_ledger
from harness.probe.backbone import Backbone, build_backbone
from harness.probe.entrants import Entrant, method_entrant
from harness.probe.request import ProbeRequest, read_request
from harness.probe.result import paired_ratio

SETTING = "method=lora,cla model=roberta_base targets=all layers=4"
BATCH, LENGTH, ROUNDS, STEPS = 16, 128, 8, 2
STOCK = "peft LoRA"
GOALS = {"plugin lora": 1.00, "plugin cla": 0.92}  # step time over the library's LoRA
SAVED = {"plugin lora": "harness lora", "plugin cla": "harness cla"}


def main() -> None:
    """Count, time, print."""
    request, device = read_request(SETTING.split()), pick_device("auto")
    backbone = build_backbone(request.model, batch=BATCH, length=LENGTH, layers=4, device=device, seed=0)
    entrants = {name: build() for name, build in _builds(request, backbone).items()}
    saved = {name: _saved(entrant) for name, entrant in entrants.items()}
    with fast_matmul(device):
        seconds = _timed(entrants, device)
    missed = _print(saved, seconds)
    sys.exit("missed its goal: " + ", ".join(missed) if missed else 0)


def _builds(request: ProbeRequest, backbone: Backbone) -> dict[str, Callable[[], Entrant]]:
    harness = {
        f"harness {spec.name}": lambda spec=spec: method_entrant(spec, backbone, nullcontext, 0)
        for spec in request.methods
    }
    paths = sorted({path.partition("[")[0] for path in backbone.layout.targets.values()})
    options = {"r": 16, "lora_alpha": 32, "target_modules": paths, "modules_to_save": list(backbone.layout.head)}
    plugin = {
        STOCK: lambda: _through_peft(STOCK, LoraConfig(**options), backbone),
        "plugin lora": lambda: _through_peft("plugin lora", methods.library.lora(**options), backbone),
        "plugin cla": lambda: _through_peft("plugin cla", methods.library.cla(**options), backbone),
    }
    return plugin | harness


def _through_peft(name: str, config: LoraConfig, backbone: Backbone) -> Entrant:
    model = get_peft_model(backbone.twin(), config).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5, fused=True)
    return Entrant(name, model, optimizer, lambda: backbone.loss(model), lambda: None)


def _saved(entrant: Entrant) -> int:
    entrant.step()
    ledger = measure_ledger(entrant.model, entrant.forward_backward, entrant.optimizer)
    return int(ledger["saved_for_backward"].value)


def _timed(entrants: dict[str, Entrant], device: torch.device) -> dict[str, list[float]]:
    """Seconds of a step by name, one number a round; every round in a new order, after a step that is not timed."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in entrants}
    chance = random.Random(0)
    for _ in range(ROUNDS):
        for name in chance.sample(list(entrants), len(entrants)):
            entrants[name].step()
            before = _now(clock, device)
            for _ in range(STEPS):
                entrants[name].step()
            seconds[name].append((_now(clock, device) - before) / STEPS)
    return seconds


def _now(clock: Callable[[], float], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock()


def _print(saved: dict[str, int], seconds: dict[str, list[float]]) -> list[str]:
    """The table; the names of goals that were missed."""
    print("| | step (s) | over peft LoRA | saved for backward (MB) | over peft LoRA |\n|---|---|---|---|---|")
    missed = []
    for name, times in seconds.items():
        ratio = paired_ratio(times, seconds[STOCK])
        shares = f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]", f"{saved[name] / saved[STOCK]:.3f}"
        print(f"| {name} | {median(times):.3f} | {shares[0]} | {saved[name] / 1e6:.1f} | {shares[1]} |")
        if ratio.low > GOALS.get(name, ratio.low):
            missed.append(f"{name} ≤ {GOALS[name]:.2f} × peft LoRA")
    missed += [f"{one} saves as {other}" for one, other in SAVED.items() if saved[one] != saved[other]]
    return missed


if __name__ == "__main__":
    main()
