"""What a check says: one sentence about named runs, and how much it weighs."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["refuted", "unproved", "suspicious"]


@dataclass(frozen=True)
class Finding:
    """`kind` groups findings; `where` is a cell or a run; `what` is the sentence; `runs` are the ids it is about.

    refuted: the record cannot be true, and no table takes it. unproved: what would prove it is not there.
    suspicious: may be true, and should be looked at.
    """

    kind: str
    where: str
    what: str
    level: Level = "suspicious"
    runs: tuple[str, ...] = ()


class Unproved(Exception):
    """Raised by a check whose evidence is absent; the message says what is missing."""
