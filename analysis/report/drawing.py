"""The pictures of a report, drawn while its tables are made: to draw them is half of its work."""

import os
import signal
import sys
import threading
from collections.abc import Iterable, Mapping
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from analysis.figures.style import Picture
from harness.ledger.life import Say
from harness.ledger.paths import write_whole

MOST = 4  # forks at once


class Drawing:
    """Pictures on their way into a folder.

    An idle core draws in a fork of this process, which has the picture already. Only where that is safe: on Linux, and
    with no other thread of Python, which could hold a lock for ever there. What a fork does not bring is drawn here.
    """

    def __init__(self, out: Path, say: Say = lambda words: None) -> None:
        self._out, self._say = out, say
        self._waiting: list[Picture] = []
        self._forks: list[tuple[BaseProcess, Connection, Picture]] = []
        self._inline: dict[str, str] = {}

    def add(self, pictures: Iterable[Picture]) -> None:
        """Write the numbers behind these, and begin to draw them, as far as cores are idle."""
        for picture in pictures:
            write_whole(self._out / f"figure-{picture.name}.csv", picture.data.to_csv(index=False, lineterminator="\n"))
            self._waiting.append(picture)
        self._hand_out()

    def finish(self) -> Mapping[str, str]:
        """The SVG of each picture for a page, by its name, when all files are written."""
        while self._waiting:
            picture = self._waiting.pop(0)
            self._say(f"report: drawing {picture.title}")
            self._inline[picture.name] = draw(picture, self._out)
            self._hand_out()
        for fork in self._forks:
            self._collect(*fork)
        return self._inline

    def _hand_out(self) -> None:
        for fork in [each for each in self._forks if each[1].poll()]:
            self._collect(*fork)
            self._forks.remove(fork)
        while self._waiting and len(self._forks) < spare_cores():
            picture, context = self._waiting.pop(0), get_context("fork")
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_send, args=(picture, self._out, sender), daemon=True)
            process.start()
            sender.close()
            self._forks.append((process, receiver, picture))

    def _collect(self, process: BaseProcess, receiver: Connection, picture: Picture) -> None:
        try:
            self._inline[picture.name] = receiver.recv()
        except EOFError:  # it was killed, or failed: then the sentence is to be this process's
            self._inline[picture.name] = draw(picture, self._out)
        process.join()


def spare_cores() -> int:
    """How many forks may draw at once."""
    if sys.platform != "linux" or threading.active_count() > 1:
        return 0
    return min(len(os.sched_getaffinity(0)) - 1, MOST)


def draw(picture: Picture, out: Path) -> str:
    """PNG for slides, SVG for papers; returns the SVG for a page."""
    write_whole(out / f"{picture.name}.png", picture.png())
    write_whole(out / f"{picture.name}.svg", picture.alone)
    return picture.svg


def _send(picture: Picture, out: Path, sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the report's process ends it
    sender.send(draw(picture, out))
