"""The pictures of a report, drawn while its tables are made: to draw them is half of its work."""

import os
import signal
import sys
import threading
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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
        self._pictures: list[Picture] = []
        self._begun = 0  # how many of them were given to a fork
        self._forks: list[tuple[BaseProcess, Connection]] = []
        self._inline: dict[str, str] = {}

    def add(self, pictures: Iterable[Picture]) -> None:
        """Write the numbers behind these, and begin to draw them, as far as cores are idle."""
        for picture in pictures:
            write_whole(self._out / f"figure-{picture.name}.csv", picture.data.to_csv(index=False, lineterminator="\n"))
            self._pictures.append(picture)
        for fork in [each for each in self._forks if each[1].poll()]:
            self._collect(fork)
        while self._begun < len(self._pictures) and len(self._forks) < spare_cores():
            self._fork([self._pictures[self._begun]])
            self._begun += 1

    def finish(self) -> Mapping[str, str]:
        """The SVG of each picture for a page, by its name, when all files are written."""
        rest = self._pictures[self._begun :]
        with _shared(rest) as left:
            for _ in range(min(spare_cores(), len(rest) - 1)):
                self._fork(left)
            self._draw(left)
        for fork in list(self._forks):
            self._collect(fork)
        self._draw(each for each in self._pictures if each.name not in self._inline)
        return self._inline

    def _draw(self, pictures: Iterable[Picture]) -> None:
        for picture in pictures:
            self._say(f"report: drawing {picture.title}")
            self._inline[picture.name] = draw(picture, self._out)

    def _fork(self, pictures: Iterable[Picture]) -> None:
        context = get_context("fork")
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_send, args=(pictures, self._out, sender), daemon=True)
        process.start()
        sender.close()
        self._forks.append((process, receiver))

    def _collect(self, fork: tuple[BaseProcess, Connection]) -> None:
        process, receiver = fork
        with suppress(EOFError):  # it was killed, or failed: then the sentence is to be this process's
            self._inline |= receiver.recv()
        process.join()
        self._forks.remove(fork)


@contextmanager
def _shared(pictures: Sequence[Picture]) -> Iterator[Iterator[Picture]]:
    """An iterator of which each process gets others: the numbers of those that nobody took wait in a pipe."""
    numbers, into = os.pipe()
    os.write(into, array("I", range(len(pictures))).tobytes())
    os.close(into)

    def taken() -> Iterator[Picture]:
        while number := os.read(numbers, array("I").itemsize):
            yield pictures[array("I", number)[0]]

    try:
        yield taken()
    finally:
        os.close(numbers)


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


def _send(pictures: Iterable[Picture], out: Path, sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the report's process ends it
    sender.send({picture.name: draw(picture, out) for picture in pictures})
