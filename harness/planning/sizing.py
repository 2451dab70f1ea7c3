"""How large a job must be for a run: host memory and wall time, from earlier records, else from the cards alone.

For job sizes only: cheap for 10,000 runs and without torch. No result depends on them, and no time is taken from a
record of another kind of device, or from a run that shared its own. What `peftlab plan` shows is `planning.estimate`.
"""

from collections.abc import Mapping
from statistics import median
from typing import Any

from harness.ledger.plan import Plan
from harness.ledger.quantity import Measured
from harness.ledger.record import Record
from harness.ledger.store import Store
from harness.planning.estimate import cell_of
from harness.planning.history import device_of

STACK_GB = 1.5  # torch, transformers and datasets, imported
FLOPS = {"cpu": 3e10, "cuda": 3e13}  # a core; a GPU: sustained, low on purpose
EXAMPLES = 10_000  # of a dataset whose size the card does not tell
ENOUGH = 3  # records of a cell that are read


def seconds_before(plan: Plan, store: Store, device: str) -> dict[str, float]:
    """Cell -> median wall seconds of its done runs on that kind of device (cpu, cuda)."""
    records: dict[str, list[Record]] = {}
    for run in plan.runs:
        known = records.setdefault(cell_of(run.choices), [])
        if len(known) < ENOUGH and store.status(run.id) == "done":
            known.append(store.read(run.id))
    times = {cell: [t for record in known for t in _wall(record, device)] for cell, known in records.items()}
    return {cell: median(seconds) for cell, seconds in times.items() if seconds}


def _wall(record: Record, device: str) -> list[float]:
    """Its wall seconds, where they say something about other runs on that kind of device."""
    wall = record.seconds.get("wall")
    usable = device_of(record)[0] == device and record.why_not_comparable is None
    return [wall.value] if usable and isinstance(wall, Measured) else []


def parameters(model: Mapping[str, Any]) -> int | None:
    """Weights of a transformer of this shape; None when the card does not say its shape."""
    config = _text_config(model)
    width = config.get("hidden_size") or config.get("n_embd")
    layers = config.get("num_hidden_layers") or config.get("n_layer")
    if not width or not layers:
        return None
    inner = config.get("intermediate_size") or 4 * width
    gates = 3 if "gate" in model.get("targets", {}) else 2
    return config.get("vocab_size", 0) * width + layers * (4 * width * width + gates * width * inner)


def host_gigabytes(spec: Mapping[str, Any]) -> float:
    """Host memory of a run on a CPU, in GB; on a GPU it is what loading takes at least."""
    weights = parameters(spec["model"])
    if weights is None:
        return STACK_GB
    config, recipe = _text_config(spec["model"]), spec["recipe"]
    width = config.get("hidden_size") or config.get("n_embd")
    layers = config.get("num_hidden_layers") or config.get("n_layer")
    size = 2 if spec["model"].get("dtype") == "bfloat16" else 4
    trained = weights if spec["method"].get("update", {}).get("kind") == "full" else weights // 50
    tokens = recipe.get("batch_size", 1) * _length(spec)
    activations = (
        34 * tokens * width * layers * 2
    )  # 34 values of 2 bytes a token, layer and width: Korthikanti et al. 2022
    return STACK_GB + (2 * weights * size + 16 * trained + 2 * activations) / 1e9  # loading holds the weights twice


def nominal_seconds(spec: Mapping[str, Any], flop_per_second: float) -> float:
    """Six FLOPs per weight and token of training (Kaplan et al. 2020, 2.1), at that rate."""
    weights = parameters(spec["model"])
    if weights is None:
        return 60.0
    recipe = spec["recipe"]
    examples = (
        recipe["max_steps"] * recipe["batch_size"] * recipe["accumulate"]
        if recipe["max_steps"]
        else recipe["epochs"] * EXAMPLES
    )
    return 6.0 * weights * examples * _length(spec) / flop_per_second


def _length(spec: Mapping[str, Any]) -> int:
    """Input tokens of an example."""
    task, config = spec["dataset"].get("task", {}), spec["model"].get("config", {})
    if "patch_size" in config:
        return (config["image_size"] // config["patch_size"]) ** 2 + 1
    return (task.get("max_length") or 128) + config.get("mm_tokens_per_image", 0)


def _text_config(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of a model that reads images too: its language model, by far the larger part."""
    config = model.get("config", {})
    return config.get("text_config", config)
