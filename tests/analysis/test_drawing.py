"""Pictures drawn in forks are those drawn here, and none is lost with its fork."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from analysis.report import drawing

SCRIPT = """
import os, signal, sys
from pathlib import Path
import pandas as pd
from analysis.figures.style import Picture, panels
from analysis.report import drawing

own, draw, names = os.getpid(), drawing.draw, ["one", "two", "three", "four"]

def report(out, forks, killed):
    def drawn(picture, out):
        if os.getpid() != own:
            (out / f"{picture.name}.forked").touch()
            if killed:
                os.kill(os.getpid(), signal.SIGKILL)
        return draw(picture, out)

    drawing.draw, drawing.spare_cores = drawn, lambda: forks
    out.mkdir()
    room = drawing.Drawing(out)
    for name in names:
        figure, (axis,) = panels(1)
        axis.plot([1, 2, len(name)])
        room.add([Picture(name, name, name, figure, pd.DataFrame({"y": [1, 2, len(name)]}))])
    inline = room.finish()
    assert sorted(inline) == sorted(names)
    for name, text in inline.items():
        (out / f"{name}.inline").write_text(text)

home = Path(sys.argv[1])
report(home / "here", 0, False)
report(home / "forked", 2, False)
report(home / "killed", 1, True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks draw on Linux alone")
def test_forks_draw_what_is_drawn_here_and_a_killed_one_loses_nothing(tmp_path):
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], check=True, timeout=120)
    here, forked, killed = (files_of(tmp_path / name) for name in ("here", "forked", "killed"))
    assert len(here) == 4 * 4, "PNG, SVG, CSV and the page's SVG of each"
    for files in (forked, killed):
        assert {name: text for name, text in files.items() if not name.endswith(".forked")} == here
        assert any(name.endswith(".forked") for name in files)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_no_fork_is_made_beside_another_thread(monkeypatch):
    monkeypatch.setattr(drawing.threading, "active_count", lambda: 1)
    monkeypatch.setattr(drawing.os, "sched_getaffinity", lambda pid: set(range(4)), raising=False)
    monkeypatch.setattr(drawing.sys, "platform", "linux")
    assert drawing.spare_cores() == 3
    monkeypatch.undo()
    wait = threading.Event()
    thread = threading.Thread(target=wait.wait)
    thread.start()
    try:
        assert drawing.spare_cores() == 0
    finally:
        wait.set()
        thread.join()
