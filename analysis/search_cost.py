"""What the searches of a store took: a study's plan says which run was its best, records say what every trial cost."""

from pathlib import Path

from analysis.frame import Frame
from harness.ledger.lookup import plans
from harness.ledger.plan import Plan
from harness.ledger.quantity import Measured
from harness.ledger.state import record_in


def search_seconds(frame: Frame) -> dict[str, float]:
    """Run id -> training seconds of all other trials of the search that chose its ranks; read once for a frame."""
    if "search_seconds" not in frame.kept:
        studies = [plan for plan in plans(frame.runs) if _best(plan)] if frame.runs is not None else []
        frame.kept["search_seconds"] = {_best(plan): _others(plan, frame.runs) for plan in studies}
    return frame.kept["search_seconds"]


def _best(plan: Plan) -> str:
    return str((plan.about.get("search") or {}).get("best") or "")


def _others(plan: Plan, runs: Path) -> float:
    records = [record_in(runs / run_id) for run_id in plan.ids if run_id != _best(plan)]
    spent = [record.seconds.get("train") for record in records if record is not None]
    return sum(quantity.value for quantity in spent if isinstance(quantity, Measured))
