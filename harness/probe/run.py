"""The story of a probe: build one backbone, examine every entrant alone, then time all in one interleaved run."""

import ctypes
import gc
import random
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from harness.ledger.quantity import Measured, Quantity
from harness.measure.clocks import StepTimer, pick_device, synchronise
from harness.measure.contention import Contention
from harness.measure.cpu_matmul import fast_matmul
from harness.measure.environment import provenance
from harness.measure.flops import step_flops
from harness.measure.memory import Memory
from harness.measure.memory_breakdown import measure_ledger
from harness.measure.meta_device import meta_hints
from harness.measure.precision import autocast, uses_bfloat16
from harness.probe.backbone import Backbone, build_backbone
from harness.probe.entrants import Entrant, floor_entrant, method_entrant, peft_spec
from harness.probe.request import FLOOR, PEFT_DORA, PEFT_LORA, Options, ProbeRequest
from harness.probe.result import EntrantRow, Probe, Round
from methods.errors import MethodError
from methods.spec import BaSparse, Columns, LowRank, MethodSpec

Build = Callable[[], Entrant]
LINK_ENDS = 3
LABELS = {FLOOR: "frozen floor", PEFT_LORA: "peft LoRA", PEFT_DORA: "peft DoRA"}


def probe(request: ProbeRequest, emit: Callable[[str], None] = lambda line: None) -> Probe:
    """Measure every entrant of `request`. One that cannot be attached, or does not fit, is a row with its reason."""
    options = request.options
    device = _device(options)
    backbone = build_backbone(
        request.model,
        batch=options.batch,
        length=options.length,
        layers=options.layers,
        device=device,
        seed=options.seed,
    )
    builds = _builds(request, backbone, lambda: autocast(options.precision, device))
    labels = LABELS | {method.name: str(method.about.get("label", method.name)) for method in request.methods}
    with fast_matmul(device):
        rows = _rows(builds, labels, options, device, backbone.tokens, emit)
    return Probe(_setting(request, backbone, device), tuple(rows), provenance(device))


def _rows(
    builds: Mapping[str, Build],
    labels: Mapping[str, str],
    options: Options,
    device: torch.device,
    tokens: int,
    emit: Callable[[str], None],
) -> list[EntrantRow]:
    """What each entrant holds and counts, then how fast all of them are."""
    rows: dict[str, EntrantRow] = {}
    for name, build in builds.items():
        emit(f"{labels[name]}: exact counts")
        rows[name] = _examined(EntrantRow(name, labels[name]), build, options, device)
    if not options.counts:
        good = {name: build for name, build in builds.items() if rows[name].why is None}
        contention = {name: Contention(device) for name in good}
        timed = _timed(good, contention, options, device, emit)
        for name in good:
            if name not in timed:
                rows[name] = replace(rows[name], why="out of memory beside the other entrants; probe it alone")
                continue
            speed = {**_speed(timed[name], options.batch, tokens), **rows[name].speed}
            others = contention[name].quantities()
            rows[name] = replace(rows[name], speed=speed, contention=others, rounds=tuple(timed[name]))
    return list(rows.values())


def _builds(request: ProbeRequest, backbone: Backbone, autocast: Callable[[], Any]) -> dict[str, Build]:
    """How to make each entrant; the floor first."""
    seed = request.options.seed
    builds: dict[str, Build] = {FLOOR: lambda: floor_entrant(backbone, autocast)}
    baselines: list[MethodSpec] = []
    if request.options.peft and (like := _peft_like(request)) is not None:
        baselines = [peft_spec(name, like) for name in (PEFT_LORA, PEFT_DORA)]
    for method in (*baselines, *request.methods):
        builds[method.name] = lambda method=method: method_entrant(method, backbone, autocast, seed)
    return builds


def _peft_like(request: ProbeRequest) -> MethodSpec | None:
    """The first method that has a rank: peft's LoRA takes its rank, alpha and targets."""
    return next((m for m in request.methods if isinstance(m.update, LowRank | Columns | BaSparse)), None)


def _examined(row: EntrantRow, build: Build, options: Options, device: torch.device) -> EntrantRow:
    """Everything about an entrant that needs no clock, while it is alone beside the backbone."""
    gc.collect()  # the entrant before
    try:
        entrant = build()
        if options.counts:
            with meta_hints():
                return replace(row, exact=_exact(entrant))
        entrant.step()  # the optimizer's state and every workspace exist from here on
        return replace(row, exact=_exact(entrant), memory=_peak(entrant, device), speed=_link_end(entrant, device))
    except MethodError as error:
        return replace(row, why=str(error))
    except torch.OutOfMemoryError as error:
        return replace(row, why=f"out of memory: {str(error).splitlines()[0]}")


def _exact(entrant: Entrant) -> dict[str, Quantity]:
    parameters = [p for group in entrant.optimizer.param_groups for p in group["params"]]
    return {
        **measure_ledger(entrant.model, entrant.forward_backward, entrant.optimizer),
        "flops_per_step": step_flops(entrant.model, entrant.forward_backward, parameters),
        "trainable": Measured(entrant.trainable(), "parameter"),
    }


def _peak(entrant: Entrant, device: torch.device) -> dict[str, Quantity]:
    """Peak of one training step; on a CPU also what the step adds to what was resident before it."""
    memory = Memory(device)
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # free memory that the allocator keeps would hide a part of the peak
    with memory.window("train"):
        entrant.step()
    peaks = {k.removeprefix("train_"): v for k, v in memory.quantities().items() if k.startswith("train_")}
    peak, start = peaks["peak_rss"], peaks["start_rss"]
    if isinstance(peak, Measured) and isinstance(start, Measured) and device.type == "cpu":
        peaks["step_rss"] = Measured(peak.value - start.value, "byte")
    return peaks


def _link_end(entrant: Entrant, device: torch.device) -> dict[str, Quantity]:
    """What the end of a chain's link costs, once a link and beside its steps: merge, next factors or columns."""
    if entrant.end_link is None:
        return {}
    ms = []
    for _ in range(LINK_ENDS):
        entrant.step()
        synchronise(device)
        before = time.perf_counter()
        entrant.end_link()
        synchronise(device)
        ms.append(1e3 * (time.perf_counter() - before))
    return {"link_end_ms_median": Measured(float(np.median(ms)), "ms", LINK_ENDS)}


def _timed(
    builds: Mapping[str, Build],
    contention: Mapping[str, Contention],
    options: Options,
    device: torch.device,
    emit: Callable[[str], None],
) -> dict[str, list[Round]]:
    """Every entrant's rounds; one that runs out of memory is absent. Warm-up is a round whose times are dropped.

    What else used the processor meanwhile is added to `contention`.
    """
    alive: dict[str, Entrant] = {}
    rounds: dict[str, list[Round]] = {name: [] for name in builds}
    chance = random.Random(options.seed)
    sizes = [len(part) for part in np.array_split(range(options.steps), options.rounds)]
    for number, size in enumerate([options.warmup, *sizes]):
        emit(f"round {number} of {options.rounds}" if number else "warm-up")
        order = list(rounds)
        chance.shuffle(order)
        for name in order:
            try:
                alive[name] = alive.get(name) or builds[name]()
                with contention[name].window() if number else nullcontext():
                    timed = _round(alive[name], size, device)
            except torch.OutOfMemoryError:
                alive.pop(name, None)
                del rounds[name]
                continue
            if number:
                rounds[name].append(timed)
    return rounds


def _round(entrant: Entrant, steps: int, device: torch.device) -> Round:
    """Some steps in a row. The first after a change of entrant is not timed where there are others: caches are cold."""
    timer = StepTimer(device, drop=0)
    if steps > 1:
        entrant.step()
    synchronise(device)
    before = time.process_time()
    for _ in range(steps):
        timer.start()
        entrant.step()
        timer.stop(samples=0, tokens=0, padded_tokens=0)
    synchronise(device)
    cpu_ms = 1e3 * (time.process_time() - before) / max(1, steps)
    return Round(tuple(timer.milliseconds()), cpu_ms)


def _speed(rounds: list[Round], samples: int, tokens: int) -> dict[str, Quantity]:
    ms = np.concatenate([round_.ms for round_ in rounds])
    median, p5, p95 = (float(v) for v in np.percentile(ms, (50, 5, 95)))
    values = {
        "step_ms_median": (median, "ms"),
        "step_ms_p5": (p5, "ms"),
        "step_ms_p95": (p95, "ms"),
        "step_ms_mad": (float(np.median(np.abs(ms - median))), "ms"),
        "cpu_ms_median": (float(np.median([round_.cpu_ms for round_ in rounds])), "ms"),
        "samples_per_s": (1e3 * samples / median, "1/s"),
        "tokens_per_s": (1e3 * tokens / median, "1/s"),
    }
    return {name: Measured(value, unit, len(ms)) for name, (value, unit) in values.items()}


def _setting(request: ProbeRequest, backbone: Backbone, device: torch.device) -> dict[str, Any]:
    options = request.options
    return {
        "model": request.model.name,
        "parameters": sum(p.numel() for p in backbone.model.parameters()),
        "layers": backbone.model.config.num_hidden_layers,  # type: ignore[union-attr]
        "batch": options.batch,
        "tokens": backbone.tokens // options.batch,
        "targets": {method.name: list(method.targets) for method in request.methods},
        "rank": {method.name: getattr(method.update, "rank", None) for method in request.methods},
        "device": device.type,
        "autocast": "bfloat16" if uses_bfloat16(options.precision, device) else None,
        "weights": request.model.dtype,
        "dropout": "off",
        "steps": options.steps,
        "warmup": options.warmup,
        "rounds": options.rounds,
        "processes": 1,  # all entrants in turn, in every round in a new order
        "link_ends": "none within the timed steps",
    }


def _device(options: Options) -> torch.device:
    return torch.device("meta") if options.counts else pick_device(options.device)
