"""Expected best validation score against the training time that its tuning took, one panel per block."""

from typing import Any

from analysis.figures.style import Picture, colour, legend_below, marker, panels, short, styled
from analysis.frame import Frame
from analysis.tables.tuning import tuned, tuning_data


@styled
def tuning_curves(frame: Frame) -> Picture | None:
    """A line per method, a point for each number of settings tried. None where no method was tried with several."""
    curves = tuple(tuned(frame))
    if not curves:
        return None
    data, methods = tuning_data(curves), tuple(dict.fromkeys(t.method for t in curves))
    blocks = tuple(dict.fromkeys(t.block for t in curves))
    figure, axes = panels(len(blocks))
    handles: dict[str, Any] = {}
    for axis, block in zip(axes, blocks, strict=True):
        for method, line in data[data["block"] == block].groupby("method", sort=False):
            tint, sign = colour(methods, str(method)), marker(methods, str(method))
            (handles[str(method)],) = axis.plot(
                line["seconds"], line["expected_best"], color=tint, marker=sign, markersize=4
            )
        axis.set_title(short(block, 40))
        axis.set_xlabel("training time spent on tuning (s)")
        axis.set_ylabel(f"best validation {frame.shown(block).axis}")
        if frame.better(block) == "min":
            axis.invert_yaxis()
    legend_below(figure, [handles[m] for m in methods], list(methods))
    sentences = "; ".join(
        f"{t.block}, {t.method}: {t.expected(1):.2f} with one setting, {t.expected(len(t.settings)):.2f} with all "
        f"{len(t.settings)}"
        for t in curves
    )
    alt = f"Line plot of the expected best validation score against the time that tuning took. {sentences}."
    return Picture("tuning", "Expected best score against tuning time", alt, figure, data)
