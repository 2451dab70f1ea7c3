"""A probe's result as a picture: step time against the frozen floor, and bytes kept for the backward pass."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

OURS, OTHERS, FLOOR = "#2166ac", "#b2182b", "#666666"
MB = 1e6


def draw(result: dict[str, Any], path: Path) -> None:
    """Write the PNG of one result file of `benchmarks/step.py` (already read from JSON)."""
    rows = [row for row in result["rows"] if "why" not in row][::-1]
    names, colours = [row["label"] for row in rows], [_colour(row["name"]) for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 0.36 * len(rows) + 1.6), sharey=True, layout="constrained")
    busy = any(row["noisy"] for row in rows) and result["setting"]["device"] == "cpu"
    kind, what = ("cpu_ms", "CPU time of a step (the machine was busy)") if busy else ("step_ms", "step time")
    for place, (row, colour) in enumerate(zip(rows, colours, strict=True)):
        ratio = row["ratios"][f"{kind}_over_floor"]
        spread = [[ratio["value"] - ratio["low"]], [ratio["high"] - ratio["value"]]]
        left.errorbar(ratio["value"], place, xerr=spread, fmt="o", color=colour, capsize=3)
    left.axvline(1.0, color=FLOOR, linewidth=1)
    left.set(yticks=range(len(rows)), yticklabels=names, xlabel=f"{what} ÷ frozen floor, 95 % interval")
    saved = [row["exact"]["saved_for_backward"]["value"] / MB for row in rows]
    right.barh(range(len(rows)), saved, color=colours)
    right.bar_label(right.containers[0], fmt="%.0f", padding=3, fontsize=8)
    right.set(xlabel="kept for backward, MB (exact)")
    right.margins(x=0.12)
    for axes in (left, right):
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(_title(result), fontsize=9)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _colour(name: str) -> str:
    return FLOOR if name == "floor" else OTHERS if name.startswith("peft_") else OURS


def _title(result: dict[str, Any]) -> str:
    s, device = result["setting"], result["provenance"]["device"]["name"]
    return (
        f"{s['model']}, {s['layers']} layers, batch {s['batch']} × {s['tokens']} tokens, "
        f"{s['autocast'] or s['weights']}, {device}, {result['provenance']['threads']} threads"
    )
