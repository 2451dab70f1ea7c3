"""What a strategy is, and the four that there are. The same trials in the same order give the same next one."""

from random import Random
from typing import Protocol

from harness.planning.search.evolution import Evolution
from harness.planning.search.reinforce import Reinforce
from harness.planning.search.space import Ranks, Space, Trial
from harness.planning.search.tpe import Tpe

KINDS = {"tpe": Tpe, "evolution": Evolution, "reinforce": Reinforce}


class Strategy(Protocol):
    """Built anew for each question, and told every trial of the study in order: it keeps nothing."""

    def __init__(self, space: Space, rng: Random) -> None: ...

    def tell(self, trial: Trial) -> None:
        """A trial that is done, has failed or is open."""
        ...

    def ask(self) -> Ranks:
        """Ranks to try, of the allowed range; the study lowers them to its budget."""
        ...
