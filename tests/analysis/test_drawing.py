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

out, forks, killed = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:] == ["killed"]
own, draw = os.getpid(), drawing.draw

def drawn(picture, out):
    if os.getpid() != own:
        (out / f"{picture.name}.forked").touch()
        if killed:
            os.kill(os.getpid(), signal.SIGKILL)
    return draw(picture, out)

drawing.draw, drawing.spare_cores = drawn, lambda: forks
out.mkdir()
room, names = drawing.Drawing(out), ["one", "two", "three", "four"]
for name in names:
    figure, (axis,) = panels(1)
    axis.plot([1, 2, len(name)])
    room.add([Picture(name, name, name, figure, pd.DataFrame({"y": [1, 2, len(name)]}))])
inline = room.finish()
assert sorted(inline) == sorted(names)
for name, text in inline.items():
    (out / f"{name}.inline").write_text(text)
"""


def run(out: Path, *words: str) -> dict[str, bytes]:
    subprocess.run([sys.executable, "-c", SCRIPT, str(out), *words], check=True, timeout=120)
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.mark.skipif(sys.platform != "linux", reason="forks draw on Linux alone")
def test_forks_draw_what_is_drawn_here_and_a_killed_one_loses_nothing(tmp_path):
    here, forked, killed = run(tmp_path / "a", "0"), run(tmp_path / "b", "2"), run(tmp_path / "c", "1", "killed")
    assert len(here) == 4 * 4, "PNG, SVG, CSV and the page's SVG of each"
    for files in (forked, killed):
        assert {name: text for name, text in files.items() if not name.endswith(".forked")} == here
        assert any(name.endswith(".forked") for name in files)


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
