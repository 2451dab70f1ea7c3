"""How a picture is laid out and saved."""

import pandas as pd
import pytest
from matplotlib.layout_engine import ConstrainedLayoutEngine

from analysis.figures.style import Picture, panels, styled


@styled
def two_panels() -> Picture:
    figure, axes = panels(2)
    for axis in axes:
        axis.plot([0, 1], [0, 1])
        axis.set_ylabel("A label that needs room")
    return Picture("two", "Two", "Two lines.", figure, pd.DataFrame())


def test_a_picture_is_laid_out_once_and_not_before_somebody_saves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    done, execute = [], ConstrainedLayoutEngine.execute
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", lambda self, fig: done.append(fig) or execute(self, fig))
    picture = two_panels()
    assert not done
    first, png = picture.svg, picture.png()
    assert done == [picture.figure] and "A label that needs room" in first and png.startswith(b"\x89PNG")


def test_labels_have_room_in_what_is_saved() -> None:
    whole = two_panels().laid_out
    left, right = whole.axes
    assert left.yaxis.label.get_window_extent().x0 >= 0
    assert right.yaxis.label.get_window_extent().x0 > left.get_window_extent().x1
    assert right.get_window_extent().x1 <= whole.bbox.x1
