"""The one look of all pictures, and what a picture is.

Draws without pyplot: no global state, no window, no backend to choose.
"""

import io
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import matplotlib as mpl
import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure

from analysis.stats.intervals import Estimate

P = ParamSpec("P")
R = TypeVar("R", bound="Picture | None")
STYLE = Path(__file__).with_name("peftlab.mplstyle")
PNG = {"compress_level": 2}  # half the time of the usual 6, and a sixth more bytes
INK, PAPER = "#1f2328", "#fefefe"  # on a page they follow its colours, see Picture.svg
# Okabe and Ito (2008), without yellow (unreadable on white); ten methods and more are told apart by marker as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F4FC9", "#5B5B5B")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "*", "p", "d")


@dataclass(frozen=True)
class Picture:
    """`alt` is read aloud instead of the picture; `data` is the table behind it."""

    name: str
    title: str
    alt: str
    figure: Figure
    data: pd.DataFrame

    @cached_property
    def laid_out(self) -> Figure:
        """The figure with every artist in its place: saving it twice needs no second layout, nor a draw for it."""
        if (engine := self.figure.get_layout_engine()) is not None:
            engine.execute(self.figure)
            self.figure.set_layout_engine(None)
        return self.figure

    def png(self) -> bytes:
        """On white, 160 dots per inch, for papers and slides."""
        out = io.BytesIO()
        with mpl.rc_context(), style.context(STYLE):
            self.laid_out.savefig(out, format="png", dpi=160, facecolor="white", pil_kwargs=PNG)
        return out.getvalue()

    @cached_property
    def svg(self) -> str:
        """For inlining: text stays text, ink follows the page's colour (light or dark), no ids that clash
        on one page.
        """
        out = io.StringIO()
        with mpl.rc_context({"svg.hashsalt": self.name}), style.context(STYLE):
            self.laid_out.savefig(out, format="svg", metadata={"Date": None})
        text = out.getvalue()[out.getvalue().index("<svg") :]
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
        used = set(
            re.findall(r"#([\w-]+)", text)
        )  # clip paths and markers; any other id could clash with the next picture's
        text = re.sub(r' id="([^"]*)"', lambda match: match.group() if match.group(1) in used else "", text)
        return text.replace(INK, "currentColor").replace(PAPER, "var(--page, #ffffff)")

    @property
    def alone(self) -> str:
        """The SVG as a file of its own: black on white."""
        return self.svg.replace("currentColor", INK).replace("var(--page, #ffffff)", "#ffffff")

    def _repr_svg_(self) -> str:
        """How a notebook shows it."""
        return self.svg


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Run a drawing function inside the one style."""

    @wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(), style.context(STYLE):
            return draw(*args, **kwargs)

    return inside


def short(label: str, length: int = 30) -> str:
    """A label that leaves room for the picture; tables hold it whole.

    Cut in its middle: settings differ at their ends. `recipe.lr=1` is `lr=1` here.
    """
    plain = re.sub(r"(?<=[( ])(?:recipe|update|schedule)\.(?=\w+=)", "", label)
    if len(plain) <= length:
        return plain
    end = (length - 1) // 2
    return f"{plain[: length - 1 - end]}…{plain[-end:]}"


def colour(methods: tuple[str, ...], method: str) -> str:
    """A method keeps its colour in every picture of a sweep."""
    return COLOURS[methods.index(method) % len(COLOURS)]


def marker(methods: tuple[str, ...], method: str) -> str:
    """A method keeps its marker in every picture of a sweep."""
    return MARKERS[methods.index(method) % len(MARKERS)]


def whiskers(estimate: Estimate) -> list[list[float]] | None:
    """The lengths of an error bar below and above its mean; None where there is no interval."""
    return [[estimate.mean - estimate.low], [estimate.high - estimate.mean]] if estimate.known else None


def panels(count: int, *, width: float = 3.6, height: float = 2.9, columns: int = 3) -> tuple[Figure, list]:
    """A figure of small multiples and its axes, one per block; the legend goes to `legend_below`."""
    columns = 2 if count == 4 else min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(max(width * columns, 3.8), height * rows + 0.5), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)  # type: ignore[union-attr]
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in axes[count:]:
        unused.set_visible(False)
    return figure, axes[:count]


def legend_below(figure: Figure, handles: list, labels: list[str]) -> None:
    """One legend for all panels, under them: it can never cover a point."""
    if handles:
        letters = int((figure.get_figwidth() - 0.8) / 0.075)  # of 9 points, in the width of the figure
        whole = [textwrap.fill(label, letters) for label in labels]
        longest = max(len(line) for label in whole for line in label.split("\n"))
        columns = max(1, min(len(whole), 6, int(figure.get_figwidth() / (0.55 + 0.075 * longest))))  # and the handle
        lines = sum(label.count("\n") + 1 for label in whole)
        more = max(0, -(-lines // columns) - 3)  # lines that the room below the panels was not made for
        figure.set_figheight(figure.get_figheight() + 0.2 * more)
        figure.legend(handles, whole, loc="outside lower center", ncols=columns, columnspacing=1.2, handletextpad=0.6)
