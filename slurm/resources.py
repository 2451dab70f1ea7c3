"""What a run will need, before it is measured: from earlier records of its cell, else from the cards. Estimates only.

They size jobs (which memory class, how many runs one after the other, which time limit). No result depends on them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from harness.ledger.cluster_spec import SlurmCluster
from harness.ledger.plan import Plan, Planned
from harness.ledger.quantity import Measured
from harness.ledger.store import Store

STACK_GB = 1.5  # torch, transformers and datasets, imported
FLOPS = {"cpu": 3e10, "gpu": 3e13}  # a core; a GPU: sustained, low on purpose
EXAMPLES = 10_000  # of a dataset whose size the card does not tell
START_SECONDS = 30.0  # of a job: imports, model, data


@dataclass(frozen=True)
class Need:
    """Of one run."""

    memory_gb: int  # the class it is rounded up to
    seconds: float
    again: bool = False  # a second try, with more memory than the first


def needs(plan: Plan, ids: Iterable[str], store: Store, cluster: SlurmCluster) -> dict[str, Need]:
    """Each run's need; cells share their estimate, so that 10,000 runs cost as much as their cells."""
    by_id = {run.id: run for run in plan.runs}
    before = {} if cluster.run_minutes else _seconds_before(plan, store)
    known: dict[str, Need] = {}
    found: dict[str, Need] = {}
    for run_id in ids:
        cell = _cell(by_id[run_id])
        if cell not in known:
            spec = by_id[run_id].spec
            seconds = (
                cluster.run_minutes * 60 if cluster.run_minutes else before.get(cell) or estimate_seconds(spec, cluster)
            )
            gigabytes = estimate_memory_gb(spec) * cluster.at_once  # of the job: its runs share it
            known[cell] = Need(_class(gigabytes, cluster.memory_gb), seconds)
        found[run_id] = known[cell]
    return found


def parameters(model: Mapping[str, Any]) -> int | None:
    """Weights of a transformer of this shape; None when the card does not say its shape."""
    config = model.get("config", {})
    width = config.get("hidden_size") or config.get("n_embd")
    layers = config.get("num_hidden_layers") or config.get("n_layer")
    if not width or not layers:
        return None
    inner = config.get("intermediate_size") or 4 * width
    gates = 3 if "gate" in model.get("targets", {}) else 2
    return config.get("vocab_size", 0) * width + layers * (4 * width * width + gates * width * inner)


def estimate_memory_gb(spec: Mapping[str, Any]) -> float:
    """Host memory of a run on a CPU, in GB; on a GPU it is what loading takes at least."""
    weights = parameters(spec["model"])
    if weights is None:
        return STACK_GB
    config, recipe = spec["model"]["config"], spec["recipe"]
    width = config.get("hidden_size") or config.get("n_embd")
    layers = config.get("num_hidden_layers") or config.get("n_layer")
    size = 2 if spec["model"].get("dtype") == "bfloat16" else 4
    trained = weights if spec["method"].get("update", {}).get("kind") == "full" else weights // 50
    tokens = recipe.get("batch_size", 1) * _length(spec)
    activations = (
        34 * tokens * width * layers * 2
    )  # 34 values of 2 bytes a token, layer and width: Korthikanti et al. 2022
    return STACK_GB + (2 * weights * size + 16 * trained + 2 * activations) / 1e9  # loading holds the weights twice


def estimate_seconds(spec: Mapping[str, Any], cluster: SlurmCluster) -> float:
    """Six FLOPs per weight and token of training (Kaplan et al. 2020, 2.1), on a slow machine."""
    weights = parameters(spec["model"])
    if weights is None:
        return 60.0
    recipe = spec["recipe"]
    examples = (
        recipe["max_steps"] * recipe["batch_size"] * recipe["accumulate"]
        if recipe["max_steps"]
        else recipe["epochs"] * EXAMPLES
    )
    rate = cluster.gpus * FLOPS["gpu"] if cluster.gpus else cluster.cpus * FLOPS["cpu"]
    return 6.0 * weights * examples * _length(spec) / rate


def _length(spec: Mapping[str, Any]) -> int:
    """Input tokens of an example."""
    task, config = spec["dataset"].get("task", {}), spec["model"].get("config", {})
    if "patch_size" in config:
        return (config["image_size"] // config["patch_size"]) ** 2 + 1
    return task.get("max_length") or 128


def _seconds_before(plan: Plan, store: Store) -> dict[str, float]:
    """Cell -> median seconds of its done runs; at most three records of a cell are read."""
    found: dict[str, list[float]] = {}
    for run in plan.runs:
        seen = found.setdefault(_cell(run), [])
        if len(seen) < 3 and store.status(run.id) == "done":
            walls = [record.seconds.get("wall") for record in store.records([run.id])]
            seen += [wall.value for wall in walls if isinstance(wall, Measured)]
    return {cell: median(seconds) for cell, seconds in found.items() if seconds}


def _cell(run: Planned) -> str:
    return repr(sorted((key, value) for key, value in run.choices.items() if key != "seed"))


def _class(gigabytes: float, classes: tuple[int, ...]) -> int:
    return next((size for size in classes if size >= gigabytes), classes[-1])
