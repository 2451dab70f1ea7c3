"""A store of squeezed runs, hand-written: every procedure of LoRA-Squeeze at rank 1 and 8, on two tasks."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from harness.ledger.plan import Plan, Planned, write_plan
from harness.ledger.quantity import Measured
from harness.ledger.record import Record
from harness.ledger.store import Store

SEEDS = (0, 1, 2)
# cell: rank of the update, schedule, max_steps, rank at the end
CELLS: dict[str, tuple[int, dict[str, Any], int, int]] = {
    "lora@128": (128, {"kind": "constant"}, 1000, 128),
    "lora@8": (8, {"kind": "constant"}, 1000, 8),
    "lora@1": (1, {"kind": "constant"}, 1000, 1),
    "lora@1+200": (1, {"kind": "constant"}, 1200, 1),
    "squeeze_post@8": (128, {"kind": "post_squeeze", "rank": 8, "trains": False}, 0, 8),
    "squeeze_post@1": (128, {"kind": "post_squeeze", "rank": 1, "trains": False}, 0, 1),
    "squeeze_cont@1": (128, {"kind": "post_squeeze", "rank": 1, "trains": True}, 200, 1),
    "squeeze_in@1": (128, {"kind": "in_squeeze", "ranks": None, "minimum": 0}, 1200, 1),
    "squeeze_in_min@1": (128, {"kind": "in_squeeze", "ranks": [128, 8, 1], "minimum": 20}, 1200, 1),
}
SCORE = {
    "lora@128": 0.90, "lora@8": 0.88, "lora@1": 0.84, "lora@1+200": 0.85, "squeeze_post@8": 0.89,
    "squeeze_post@1": 0.70, "squeeze_cont@1": 0.86, "squeeze_in@1": 0.87, "squeeze_in_min@1": 0.88,
}  # fmt: skip
KEPT = {"squeeze_post@8": (0.99, 0.97), "squeeze_post@1": (0.80, 0.60), "squeeze_cont@1": (0.80, 0.60)}  # of two sites
LABELS = {
    "lora": "LoRA", "squeeze_post": "Post-Squeeze", "squeeze_cont": "Cont-Squeeze", "squeeze_in": "In-Squeeze",
    "squeeze_in_min": "In-Squeeze (minimum)",
}  # fmt: skip


def score_of(cell: str, dataset: str, seed: int) -> float:
    return round(SCORE[cell] + (0.02 if dataset == "boolq" else 0.0) + 0.002 * seed * (1 + len(cell) % 3), 6)


def write_squeezed(
    runs: Path, record_of: Callable[..., Record], *, model: str = "gemma3_4b", size: str = "full",
    datasets: tuple[str, ...] = ("piqa", "boolq"), source_steps: int = 1000,
) -> None:  # fmt: skip
    """The store, and a plan called squeeze_tiny that lists sources before what starts from them."""
    store, planned = Store(runs), []
    for dataset in datasets:
        for cell, (*_, steps, _) in CELLS.items():
            steps = source_steps if cell == "lora@128" else steps
            for seed in SEEDS:
                record = _record(record_of, cell, model, size, dataset, seed, steps)
                source = _id("lora@128", dataset, seed) if "post@" in cell or "cont@" in cell else None
                planned.append(Planned(record.id, _choices(cell, model, dataset, seed, steps), record.spec, source))
                store.paths(record.id).folder.mkdir(parents=True)
                store.write(record)
    about = {"title": "LoRA-Squeeze on tiny models", "control": None, "margin": 1.0}
    write_plan(runs, Plan("squeeze_tiny", tuple(planned), (), about))


def _id(cell: str, dataset: str, seed: int) -> str:
    return hashlib.sha256(f"{cell}/{dataset}/{seed}".encode()).hexdigest()[:16]


def _choices(cell: str, model: str, dataset: str, seed: int, steps: int) -> dict[str, Any]:
    rank, schedule, *_ = CELLS[cell]
    name = cell.split("@")[0]
    size = {"method.update.rank": rank} if name == "lora" else {}
    size |= {"method.schedule.rank": schedule["rank"]} if name == "squeeze_post" else {}
    return {"method": name, "model": model, "dataset": dataset, "recipe": "default", "seed": seed, **size} | {
        "recipe.max_steps": steps
    }


def _record(
    record_of: Callable[..., Record], cell: str, model: str, size: str, dataset: str, seed: int, steps: int
) -> Record:  # fmt: skip
    rank, schedule, _, last = CELLS[cell]
    plain = record_of("lora", model, dataset, seed)
    name, number = cell.split("@")[0], list(CELLS).index(cell)
    method = plain.spec["method"] | {"name": name, "about": {"label": LABELS[name]}, "schedule": schedule}
    method |= {"update": plain.spec["method"]["update"] | {"rank": rank, "alpha": 2.0 * rank}}
    spec = plain.spec | {
        "method": method,
        "model": plain.spec["model"] | {"size": size},
        "recipe": plain.spec["recipe"] | {"max_steps": steps},
    }
    test = {"accuracy": (score_of(cell, dataset, seed), ""), "loss": (0.4 + 0.003 * number + 0.01 * seed, "nats")}
    adapter = 512 * last
    trained = adapter + 390
    counts = {"adapter": adapter, "trainable": trained}
    first = 512 * (rank if schedule["kind"] == "in_squeeze" else last) + 390  # the ledger is of the first step
    held = {"adapter": 4 * adapter, "gradients": 4 * first, "optimizer": 8 * trained}
    return replace(
        plain,
        id=_id(cell, dataset, seed),
        spec=spec,
        scores={**plain.scores, "test": {k: Measured(v, unit, 500) for k, (v, unit) in test.items()}},
        parameters={**plain.parameters, **{k: Measured(float(n), "count", 1) for k, n in counts.items()}},
        ledger={**plain.ledger, **{k: Measured(float(n), "bytes", 1) for k, n in held.items()}},
        links=_links(cell, steps),
    )


def _links(cell: str, steps: int) -> tuple[dict[str, Any], ...]:
    """As the schedules write their history."""
    rank, schedule, _, last = CELLS[cell]
    if cell in KEPT:
        kept = dict(zip(("layer.0.q", "layer.0.v"), KEPT[cell], strict=True))
        return ({"step": 0, "rank_before": rank, "rank": last, "variance_kept": kept},)
    if schedule["kind"] != "in_squeeze":
        return ()
    ranks = schedule["ranks"] or [128, 64, 32, 16, 8, 4, 2, 1]
    return tuple(
        {"step": 100 * (i + 1), "rank_before": a, "rank": b, "variance_kept": {"layer.0.q": 0.9, "layer.0.v": 0.8}}
        for i, (a, b) in enumerate(pairwise(ranks))
    )
