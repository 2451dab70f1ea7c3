"""What stands in the report, in reading order."""

from dataclasses import dataclass

from analysis.figures.curves import learning_curves
from analysis.figures.style import Picture
from analysis.figures.tradeoff import score_against
from analysis.frame import Frame
from analysis.table import Table
from analysis.tables.tradeoff import tradeoffs


@dataclass(frozen=True)
class Section:
    """A heading, what to read out of it, its tables and pictures."""

    key: str
    title: str
    lead: str
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()


def sections(frame: Frame) -> tuple[Section, ...]:
    """All sections that this frame has something for."""
    return (
        Section("tradeoff", "Score and cost", "What each method scored, and what it cost.", tradeoffs(frame),
                (score_against(frame, "train_s"), score_against(frame, "peak_bytes"))),
        Section("curves", "Learning curves", "How the validation score grew.", (), (learning_curves(frame),)),
    )  # fmt: skip
