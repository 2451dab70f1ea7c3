"""Optuna's TPE over the allowed ranks: multivariate, with constant liar for open trials; said, as 4.x had others."""

from collections import defaultdict
from random import Random

import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from harness.planning.search.space import Ranks, Space, Trial

STARTUP = 5  # random trials before the model is asked; Optuna's own default is 10


class Tpe:
    """A parameter is the place of its rank among the allowed ones. Trials of the same ranks are one of Optuna's, whose
    scores at fewer steps are its intermediate values; those that did not reach the most steps are pruned ones."""

    def __init__(self, space: Space, rng: Random) -> None:
        self._space, self._seed = space, rng.getrandbits(32)
        self._trials: dict[tuple[int, ...], list[Trial]] = defaultdict(list)

    def tell(self, trial: Trial) -> None:
        self._trials[tuple(trial.ranks[key] for key in self._space.costs)].append(trial)

    def ask(self) -> Ranks:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(
            seed=self._seed, n_startup_trials=STARTUP, multivariate=True, constant_liar=True
        )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        last = max((trial.steps or 0 for trials in self._trials.values() for trial in trials), default=0)
        for trials in self._trials.values():
            study.add_trial(self._optunas(trials, last))
        chosen = study.ask(self._distributions()).params
        return {key: self._space.ranks[chosen[key]] for key in self._space.costs}

    def _optunas(self, trials: list[Trial], last: int) -> FrozenTrial:
        scores = {trial.steps or 0: trial.score for trial in trials if trial.score is not None}
        params = {key: self._space.ranks.index(rank) for key, rank in trials[0].ranks.items()}
        distributions = self._distributions()
        if not scores:
            state = TrialState.RUNNING if any(trial.state == "open" for trial in trials) else TrialState.FAIL
            return create_trial(state=state, params=params, distributions=distributions)
        state = TrialState.COMPLETE if last in scores else TrialState.PRUNED
        value = scores[max(scores)]
        return create_trial(
            state=state, params=params, distributions=distributions, value=value, intermediate_values=scores
        )

    def _distributions(self) -> dict[str, BaseDistribution]:
        return {key: IntDistribution(0, len(self._space.ranks) - 1) for key in self._space.costs}
