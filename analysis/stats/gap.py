"""The interval of a difference of two mean losses on different examples, over seeds and examples."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.stats.bootstrap import drawn_again, percentile, t_draws
from analysis.stats.intervals import Estimate

Floats = NDArray[np.float64]


def gap_interval(
    test: tuple[ArrayLike, ArrayLike],
    train: tuple[ArrayLike, ArrayLike],
    rng: np.random.Generator,
    *,
    reps: int = 2_000,
    level: float = 0.95,
) -> Estimate:
    """Mean test loss less mean train loss; each split is (losses (n_seeds, n_examples), weights (n_examples,)).

    Examples of each split are drawn again, alike for all seeds; seeds are few and enter by Student's t of their own
    gaps. One seed leaves the examples alone.
    """
    (test_loss, test_weight), (train_loss, train_weight) = _split(*test), _split(*train)
    gaps = test_loss.sum(1) / test_weight.sum() - train_loss.sum(1) / train_weight.sum()
    drawn = _means(test_loss.mean(0), test_weight, rng, reps) - _means(train_loss.mean(0), train_weight, rng, reps)
    if len(gaps) > 1:
        drawn = drawn + gaps.std(ddof=1) / np.sqrt(len(gaps)) * t_draws(len(gaps) - 1, reps, rng)
    low, high = percentile(drawn, level)
    return Estimate(float(gaps.mean()), float(low), float(high), len(gaps))


def _split(losses: ArrayLike, weights: ArrayLike) -> tuple[Floats, Floats]:
    return np.atleast_2d(np.asarray(losses, float)), np.asarray(weights, float)


def _means(losses: Floats, weights: Floats, rng: np.random.Generator, reps: int) -> Floats:
    """(reps,) weighted means of examples drawn again."""
    chunks = drawn_again(len(losses), reps, rng)
    return np.concatenate([losses[drawn].sum(1) / weights[drawn].sum(1) for drawn in chunks])
