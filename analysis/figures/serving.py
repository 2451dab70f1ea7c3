"""How long a request takes by each way to serve an adapter, over the merged (or else the base) model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.figures.style import Picture, panels, styled


@styled
def serving_bars(answer: Mapping[str, Any]) -> Picture:
    """A panel for prefill and one for decode: the ratio to the merged model with its 95 % interval, by way."""
    parts = [part for part in ("prefill", "decode") if part in answer["rows"][0]]
    ways = [row["way"] for row in answer["rows"]]
    floor = "base model" if ways[0] == "base model" else "merged model"
    figure, axes = panels(len(parts), width=4.2, height=0.9 + 0.3 * len(ways))
    rows = []
    for axis, part in zip(axes, parts, strict=True):
        for place, row in enumerate(reversed(answer["rows"])):
            ratio = row[part][f"over_{ways[0].replace(' ', '_')}"]
            axis.plot((ratio["low"], ratio["high"]), (place, place), color="0.4")
            axis.plot(ratio["value"], place, "o", color="#0072B2")
            rows.append((part, row["way"], ratio["value"], ratio["low"], ratio["high"]))
        axis.axvline(1.0, color="0.4", linestyle=":")
        axis.set(title=part, xlabel=f"time over the {floor}'s", yticks=range(len(ways)))
        axis.set_yticklabels(list(reversed(ways)))
    data = pd.DataFrame(rows, columns=["part", "way", "ratio", "low", "high"])
    alt = f"Time of {' and '.join(parts)} over that of the {floor}, with 95 % intervals, for {', '.join(ways)}."
    return Picture("serving", f"What serving an adapter costs beside the {floor}", alt, figure, data)


def draw_serving(answer: Mapping[str, Any], picture: Path) -> None:
    """Writes the picture as a PNG."""
    picture.write_bytes(serving_bars(answer).png())
