"""Hand-written studies: realistic records of a small sweep, on disk, through the real Store and plan writer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.ledger.migrate import RECORD_VERSION
from harness.ledger.plan import Plan, Planned, Skipped, write_plan
from harness.ledger.quantity import Measured, NotMeasured, Quantity
from harness.ledger.record import Failure, Point, Record
from harness.ledger.store import Store

LABELS = {
    "full": "Full fine-tuning",
    "head": "Head only",
    "lora": "LoRA",
    "cla": "cLA",
    "asym": "Asym-LoRA",
    "c3la": "c³LA",
}
ABOUT = {"lora": {"formula": "W = W0 + s·BA; A and B trained", "source": "LoRA, arXiv:2106.09685, §4.1"}}
UPDATES: dict[str, dict[str, Any]] = {
    "full": {"kind": "full"},
    "head": {"kind": "head"},
    "lora": {
        "kind": "low_rank",
        "rank": 8,
        "alpha": 16.0,
        "train_a": True,
        "train_b": True,
        "init_a": "kaiming_uniform",
    },
    "asym": {
        "kind": "low_rank",
        "rank": 8,
        "alpha": 16.0,
        "train_a": False,
        "train_b": True,
        "init_a": "kaiming_uniform",
    },
    "cla": {"kind": "columns", "rank": 8, "alpha": 16.0, "selector": "first"},
    "c3la": {"kind": "columns", "rank": 8, "alpha": 16.0, "selector": "first"},
}
WIDTH, LAYERS = 64, 2
ADAPTER = {
    "full": 0,
    "head": 0,
    "lora": 2 * 8 * 128 * LAYERS,
    "asym": 2 * 8 * 64 * LAYERS,
    "cla": 2 * 8 * 64 * LAYERS,
    "c3la": 2 * 8 * 64 * LAYERS,
}


@dataclass(frozen=True)
class Study:
    """What is to be written.

    `fail`, `missing`: (method, model, dataset, seed) cells; `score` gives a run's test score.
    """

    name: str = "tiny"
    methods: tuple[str, ...] = ("full", "head", "lora", "cla")
    blocks: tuple[tuple[str, str], ...] = (("minilm", "trec50"), ("minilm", "mrpc"))
    seeds: tuple[int, ...] = (0, 1, 2)
    fail: tuple[tuple[str, str, str, int], ...] = ()
    missing: tuple[tuple[str, str, str, int], ...] = ()
    skipped: tuple[tuple[str, str, str, str], ...] = ()
    about: Mapping[str, Any] = field(
        default_factory=lambda: {"title": "A tiny study", "control": "lora", "margin": 1.0}
    )
    score: Callable[[str, str, int], float] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    edit: Callable[[Record], Record] = lambda record: record


def run_id(method: str, model: str, dataset: str, seed: int) -> str:
    import hashlib

    return hashlib.sha256(f"{method}/{model}/{dataset}/{seed}".encode()).hexdigest()[:16]


def spec_of(study: Study, method: str, model: str, dataset: str, seed: int) -> dict[str, Any]:
    metric = "perplexity" if dataset == "e2e" else "accuracy"
    return {
        "method": {
            "name": method,
            "targets": ["q", "v"],
            "update": UPDATES[method],
            "schedule": {"kind": "constant"},
            "rates": {"group": "adapter", "b_over_a": 1.0},
            "about": {"label": study.labels.get(method, LABELS[method])} | ABOUT.get(method, {}),
        },
        "model": {
            "name": model,
            "source": {"kind": "builtin", "builder": model},
            "kind": "text_encoder",
            "family": "bert",
            "size": "full",
            "config": {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 4},
            "targets": {"q": "attention.self.query", "v": "attention.self.value"},
            "head": ["classifier"],
            "dtype": "float32",
            "about": {"label": study.labels.get(model, model.title())},
        },
        "dataset": {
            "name": dataset,
            "metric": metric,
            "metrics": [metric],
            "direction": "min" if metric == "perplexity" else "max",
            "chance": None if metric == "perplexity" else 0.25,
            "task": {"kind": "text_classification"},
            "about": {"label": study.labels.get(dataset, dataset.upper())},
        },
        "recipe": {
            "name": "default",
            "epochs": 3.0,
            "max_steps": None,
            "batch_size": 32,
            "accumulate": 1,
            "lr": 1e-3,
            "head_lr": 1e-3,
            "schedule": "linear",
            "precision": "float32",
            "gradient_checkpointing": False,
        },
        "seed": seed,
    }


def default_score(method: str, dataset: str, seed: int) -> float:
    base = {"full": 0.88, "head": 0.70, "lora": 0.90, "cla": 0.895, "asym": 0.89, "c3la": 0.885}[method]
    wobble = np.random.default_rng([seed, sum(map(ord, method + dataset))]).normal(0, 0.004)
    value = base - (0.05 if dataset == "mrpc" else 0.0) + 0.003 * seed + float(wobble)
    return 40.0 * (1 - value) if dataset == "e2e" else value


def of(unit: str, n: int = 1, **values: float) -> dict[str, Quantity]:
    """Quantities of one unit by name."""
    return {name: Measured(value, unit, n) for name, value in values.items()}


def record_of(study: Study, method: str, model: str, dataset: str, seed: int) -> Record:
    """A realistic record of one run on a CPU; every cost is in proportion to its method's."""
    spec = spec_of(study, method, model, dataset, seed)
    metric, score = spec["dataset"]["metric"], (study.score or default_score)(method, dataset, seed)
    cost = {"full": 2.0, "head": 0.4, "lora": 1.2, "cla": 1.0, "asym": 1.1, "c3la": 1.05}[method] * (1 + 0.01 * seed)
    adapter, head, total = ADAPTER[method], 64 * 6 + 6, 1_000_000
    trainable = total if method == "full" else adapter + head
    on_cpu = NotMeasured("the run was on a CPU")
    slope = 0.1 if spec["dataset"]["direction"] == "max" else -0.1  # the last point is the best one
    points = tuple(
        Point(
            30 * i,
            float(i),
            6.0 * cost * i,
            1 / i,
            1e-3 / i,
            {metric: (score + 0.01) * (1 + slope * (i - 3)), "loss": 0.9 / i},
        )
        for i in (1, 2, 3)
    )
    return Record(
        schema=RECORD_VERSION,
        id=run_id(method, model, dataset, seed),
        spec=spec,
        status="done",
        failure=None,
        selected={"step": 90, "epoch": 3.0, "metric": metric, "value": score + 0.01},
        scores={
            "test": of("", 500, **{metric: score}) | of("nats", 500, loss=0.4 + 0.1 * (1 - score)),
            "val": of("", 300, **{metric: score + 0.01}) | of("nats", 300, loss=0.39),
            "train": of("nats", 4000, loss=0.25 + 0.01 * seed),
        },
        seconds=of("s", setup=2.0, eval=3.0, checkpoint=0.5, log=0.1, train_wasted=0.0)
        | of("s", train=20 * cost, wall=5.6 + 20 * cost + 1e-9 * int(run_id(method, model, dataset, seed)[:4], 16)),
        speed=of(
            "ms", 80, step_ms_median=200 * cost, step_ms_p5=190 * cost, step_ms_p95=230 * cost, step_ms_mad=4 * cost
        )
        | of("samples/s", 80, samples_per_s=160 / cost)
        | of("tokens/s", 80, tokens_per_s=3000 / cost)
        | of("share", 80, padding_share=0.12),
        memory=of("bytes", train_peak_rss=6e8 + 2e8 * cost, eval_peak_rss=5e8)
        | dict.fromkeys(("train_peak_allocated", "train_peak_reserved", "train_peak_device"), on_cpu),
        ledger=of("bytes", weights=4e6, adapter=4.0 * adapter, gradients=4.0 * trainable, optimizer=8.0 * trainable)
        | of("bytes", saved_for_backward=3e7 * cost),
        work=of("FLOP", flops_per_step=1e9 * cost) | of("steps", steps=90) | of("examples", examples_seen=2880),
        parameters=of("count", total=total, trainable=trainable, adapter=adapter, head=head),
        curve=points,
        data={"hash": f"{dataset}-abc", "sizes": {"train": 4000, "val": 300, "test": 500}},
        links=(),
        provenance={
            "git": {"commit": "0123456789abcdef", "dirty": False},
            "packages": {"torch": "2.13.0"},
            "host": "node1",
            "device": "cpu (2 threads)",
            "fingerprint": "f00dfeed",
            "started": "2026-11-22T00:00:00Z",
            "finished": "2026-11-22T00:01:00Z",
        },
        contention=of("1", cpu_wait_share=0.01, marked=0.0),
    )


def failed(record: Record) -> Record:
    failure = Failure("oom", "train", 3, "CUDA out of memory: tried to allocate 2 GiB")
    nothing = NotMeasured("the run failed: oom")
    return replace(
        record,
        status="failed",
        failure=failure,
        scores={},
        curve=(),
        selected={},
        seconds=dict(record.seconds),
        speed=dict.fromkeys(record.speed, nothing),
    )


def write_study(runs: Path, study: Study) -> Plan:
    """Write plan and records; returns the plan."""
    store, planned = Store(runs), []
    for model, dataset in study.blocks:
        for method in study.methods:
            if any(skip[:3] == (method, model, dataset) for skip in study.skipped):
                continue
            for seed in study.seeds:
                cell = (method, model, dataset, seed)
                record = record_of(study, *cell)
                choices = {"method": method, "model": model, "dataset": dataset, "recipe": "default", "seed": seed}
                planned.append(Planned(record.id, choices, record.spec))
                if cell in study.missing:
                    continue
                store.paths(record.id).folder.mkdir(parents=True, exist_ok=True)
                store.write(study.edit(failed(record) if cell in study.fail else record))
    skipped = tuple(Skipped({"method": m, "model": o, "dataset": d}, why) for m, o, d, why in study.skipped)
    plan = Plan(study.name, tuple(planned), skipped, dict(study.about))
    write_plan(runs, plan)
    return plan


@pytest.fixture(scope="session")
def study_records() -> Callable[..., Record]:
    """study_records(method, model, dataset, seed) is the record of one run of a study."""
    return lambda *cell: record_of(Study(), *cell)


@pytest.fixture(scope="session")
def study_writer() -> Callable[..., Plan]:
    """study_writer(runs, methods=…, fail=…) writes a study into that folder."""

    def write(runs: Path, **changes: Any) -> Plan:
        return write_study(runs, Study(**changes))

    return write


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """written(methods=…, fail=…) writes a study and returns its runs folder; a second call writes another one."""
    count = iter(range(100))

    def write(**changes: Any) -> Path:
        runs = tmp_path / f"runs{next(count)}"
        write_study(runs, Study(**changes))
        return runs

    return write
