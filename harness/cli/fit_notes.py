"""What `peftlab plan` says of GPUs: on how many each cell fits, what would make it possible, and what all runs cost."""

from collections.abc import Sequence

from harness.planning.estimate import CostEstimate
from harness.planning.fit import Fit


def fit_notes(cells: Sequence[CostEstimate], price: float | None) -> list[str]:
    """A sentence for all cells that fit one GPU, one for each other cell, and one of GPU-hours and their price."""
    fits = [(cell, cell.fit) for cell in cells if cell.fit]
    single = [fit.gigabytes for _, fit in fits if fit.gpus == 1]
    said = [f"cells that fit one GPU: {len(single)}, with {min(single):.1f} to {max(single):.1f} GB"] if single else []
    said += [f"{_words(cell)}: {_judgement(fit)}" for cell, fit in fits if fit.gpus != 1]
    return said + ([_cost(cells, price)] if fits or price is not None else [])


def _judgement(fit: Fit) -> str:
    if fit.gpus is None:
        return f"impossible, {fit.gigabytes:.1f} GB on each of the most GPUs that a run may take; {fit.remedy}"
    remedy = "" if fit.remedy.startswith("sharding") else f"; {fit.remedy}"
    layout = f"parallel=fsdp processes={fit.gpus}"
    return f"needs sharding over {fit.gpus} GPUs, {fit.gigabytes:.1f} GB on each ({layout}){remedy}"


def _cost(cells: Sequence[CostEstimate], price: float | None) -> str:
    """Of the runs that fit and whose time on one GPU is known; what sharding costs beside the work is not in it."""
    known = [cell for cell in cells if cell.wall_seconds is not None and (cell.fit is None or cell.fit.gpus)]
    if not known:
        return "price and GPU-hours: not known, as no run's time is"
    hours = sum(cell.runs * (cell.wall_seconds or 0) / 3600 for cell in known)
    runs = f"{sum(cell.runs for cell in known)} of {sum(cell.runs for cell in cells)} runs"
    if price is None:
        return f"GPU-hours of {runs}: {hours:.1f}"
    return f"price of {runs}: {hours * price:.2f} ({hours:.1f} GPU-hours at {price:g})"


def _words(cell: CostEstimate) -> str:
    return " ".join(f"{axis}={cell.choices[axis]}" for axis in ("method", "model", "dataset"))
