"""A hand-written store of rank strategies: LoRA, a gated method whose ranks are known, and one of stable ranks."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.ledger.plan import Plan, Planned, write_plan
from harness.ledger.quantity import Measured
from harness.ledger.record import Record
from harness.ledger.store import Store

SEEDS = (0, 1, 2)
TARGETS = {
    "q": "attention.self.query", "v": "attention.self.value", "o": "attention.output.dense", "down": "output.dense",
}  # fmt: skip
LABELS = {"lora": "LoRA", "sora": "SoRA", "lr_lora": "LR-LoRA (reading)"}
KINDS = {"lora": "low_rank", "sora": "gated", "lr_lora": "sinc"}


def rank_of(method: str, seed: int, layer: int, target: str) -> float:
    """SoRA's MLP has two more than its attention in every run, within a fifth; LR-LoRA's differ by chance."""
    if method == "sora":
        return 2.0 + layer + (2.0 if target == "down" else 0.0) + (0.2 * seed if target == "q" else 0.0)
    return 1.5 + (0.3 * (seed - 1) if target == "down" else 0.0)


def write_ranks(
    runs: Path, record_of: Callable[..., Record], methods: tuple[str, ...] = tuple(LABELS), name: str = "ranks"
) -> None:
    """The store and a plan of that name."""
    store, planned = Store(runs), []
    for method in methods:
        for seed in SEEDS:
            record = _record(record_of, method, seed)
            choices = {"method": method, "model": "minilm", "dataset": "mrpc", "recipe": "default", "seed": seed}
            planned.append(Planned(record.id, choices, record.spec))
            store.paths(record.id).folder.mkdir(parents=True)
            store.write(record)
    write_plan(runs, Plan(name, tuple(planned), (), {"title": name, "control": "lora", "margin": 1.0}))


def _record(record_of: Callable[..., Record], method: str, seed: int) -> Record:
    plain = record_of("lora", "minilm", "mrpc", seed)
    update = plain.spec["method"]["update"] | {"kind": KINDS[method]}
    own = plain.spec["method"] | {"name": method, "about": {"label": LABELS[method]}, "update": update}
    spec = plain.spec | {"method": own, "model": plain.spec["model"] | {"targets": TARGETS}}
    loss = {"loss": Measured(0.3 + 0.01 * seed + 0.1 * list(LABELS).index(method), "nats", 500)}
    return replace(
        plain,
        id=hashlib.sha256(f"{method}/{seed}".encode()).hexdigest()[:16],
        spec=spec,
        scores={**plain.scores, "test": {**plain.scores["test"], **loss}},
        links=() if method == "lora" else ({"event": "ranks", "sites": _sites(method, seed)},),
    )


def _sites(method: str, seed: int) -> dict[str, dict[str, Any]]:
    def report(value: float) -> dict[str, Any]:
        if method == "sora":
            return {"rank": value, "components": 8}
        return {"stable_rank": value, "numerical_rank": 40}

    return {
        f"bert.encoder.layer.{layer}.{address}": report(rank_of(method, seed, layer, target))
        for layer in range(2)
        for target, address in TARGETS.items()
    }
