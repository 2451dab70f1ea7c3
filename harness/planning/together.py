"""Which runs several processes can do together, decided from their specs before anything is loaded."""

from collections.abc import Iterable, Mapping
from typing import Any

from harness.config.settings import Settings
from harness.ledger.errors import PlanError
from harness.ledger.plan import Planned


def check_together(runs: Iterable[Planned], settings: Settings) -> None:
    """Raises PlanError for the first run that these processes cannot do."""
    for run in runs:
        if why := why_not_together(run.spec, settings.parallel):
            raise PlanError(f"parallel={settings.parallel}: {why}")


def why_not_together(spec: Mapping[str, Any], parallel: str) -> str | None:
    """A sentence when a run (a RunSpec as plain data) cannot be done so, else None."""
    method, task = spec["method"], spec["dataset"]["task"]["kind"]
    if parallel != "none" and method["schedule"]["kind"] == "select":
        return f"{method['name']} searches with the gradients of two losses at once, in one process: parallel=none."
    if parallel != "fsdp":
        return None
    if packed := spec["model"].get("quantization"):
        return (
            f"weights packed as {packed} are not sharded (bitsandbytes#1945, accelerate#3983); "
            "use parallel=ddp, or leave out model.quantization."
        )
    if task in ("generation", "vision_language"):
        return f"{spec['dataset']['name']} ({task}) calls parts of the model by themselves; use parallel=ddp."
    if method["update"]["kind"] == "full" and spec["recipe"].get("optimizer", "adamw") != "adamw":
        return f"{method['name']} with {spec['recipe']['optimizer']}: shares are trained by adamw alone."
    return None
