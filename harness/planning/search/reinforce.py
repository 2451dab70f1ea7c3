"""Policy-gradient search in the manner of a tutorial, whose reward and action space are mended.

Each group of weights has its own three actions: rank - 2, as it is, rank + 2. The reward is the measured validation
score less PRICE times the share of the parameters that the highest ranks would take: with equal scores, fewer
parameters are better. (The tutorial subtracts 1 - share, which rewards size, moves all layers together, takes a formula
for the score, and stops when little is saved.)
"""

import math
from random import Random

from harness.planning.search.space import Ranks, Space, Trial

START, ACTIONS, PRICE, RATE = 4, (-2, 0, 2), 0.1, 0.5


class Reinforce:
    """REINFORCE over the trials in order: what a trial did is how its ranks differ from those of the trial before."""

    def __init__(self, space: Space, rng: Random) -> None:
        self._space, self._rng = space, rng
        self._preferences = {key: [0.0] * len(ACTIONS) for key in space.costs}
        self._rewards: list[float] = []
        self._state: Ranks | None = None

    def reward(self, trial: Trial) -> float:
        """Raises ValueError for a trial without a score."""
        if trial.score is None:
            raise ValueError(f"trial {trial.id} has no score")
        most = self._space.parameters(dict.fromkeys(self._space.costs, self._space.ranks[-1]))
        return trial.score - PRICE * self._space.parameters(trial.ranks) / most

    def tell(self, trial: Trial) -> None:
        before, self._state = self._state, trial.ranks
        if trial.score is None:
            return
        reward = self.reward(trial)
        if before is not None and self._rewards:
            self._learn(before, trial.ranks, self._advantage(reward))
        self._rewards.append(reward)

    def _advantage(self, reward: float) -> float:
        """Against the mean so far, in its standard deviations where there is one."""
        mean = math.fsum(self._rewards) / len(self._rewards)
        spread = math.sqrt(math.fsum((r - mean) ** 2 for r in self._rewards) / len(self._rewards))
        return (reward - mean) / (spread or 1.0)

    def _learn(self, before: Ranks, after: Ranks, advantage: float) -> None:
        for key, preferences in self._preferences.items():
            taken = (after[key] > before[key]) - (after[key] < before[key]) + 1
            chances = _softmax(preferences)
            for action in range(len(ACTIONS)):
                preferences[action] += RATE * advantage * ((action == taken) - chances[action])

    def ask(self) -> Ranks:
        """One action of each group from where the trial before was."""
        low, high = self._space.ranks[0], self._space.ranks[-1]
        if self._state is None:
            return dict.fromkeys(self._space.costs, min(max(START, low), high))
        moves = {key: self._rng.choices(ACTIONS, _softmax(p))[0] for key, p in self._preferences.items()}
        return {key: min(max(self._state[key] + move, low), high) for key, move in moves.items()}


def _softmax(preferences: list[float]) -> list[float]:
    weights = [math.exp(p - max(preferences)) for p in preferences]
    return [weight / sum(weights) for weight in weights]
