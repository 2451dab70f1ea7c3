"""Evolution: uniform crossover of two winners of small tournaments, then a step up or down of some ranks."""

from random import Random

from harness.planning.search.space import Ranks, Space, Trial

STARTUP, TOURNAMENT = 5, 3


class Evolution:
    """Random ranks until `STARTUP` trials are done. Those of more steps win over those of fewer."""

    def __init__(self, space: Space, rng: Random) -> None:
        self._space, self._rng = space, rng
        self._done: list[Trial] = []

    def tell(self, trial: Trial) -> None:
        if trial.score is not None:
            self._done.append(trial)

    def ask(self) -> Ranks:
        if len(self._done) < STARTUP:
            return self._space.drawn(self._rng)
        mother, father = self._winner().ranks, self._winner().ranks
        child = {key: self._rng.choice((mother[key], father[key])) for key in self._space.costs}
        moved = [key for key in child if self._rng.random() < 1 / len(child)] or [self._rng.choice(list(child))]
        return child | {key: self._step(child[key]) for key in moved}

    def _winner(self) -> Trial:
        rivals = [self._rng.choice(self._done) for _ in range(TOURNAMENT)]
        return max(rivals, key=lambda trial: (trial.steps or 0, trial.score))

    def _step(self, rank: int) -> int:
        """The next allowed rank above or below."""
        ranks = self._space.ranks
        place = ranks.index(rank) + self._rng.choice((-1, 1))
        return ranks[min(max(place, 0), len(ranks) - 1)]
