"""I(T; Y) and I(X; T) of Gaussians against dense log determinants in float64, and against a truth that is known."""

import numpy as np
import pytest
import torch

from methods.bottleneck import FOLDS, Moments, gaussian, information


def data(n=4000, seed=0, noise=1.0):
    """t (n, 4) white but for its scale, y (n, 2) = t's first two directions and noise: rank two is all there is."""
    random = np.random.default_rng(seed)
    t = random.standard_normal((n, 4)) * np.array([2.0, 1.0, 1.0, 0.5]) + 3
    y = t[:, :2] + noise * random.standard_normal((n, 2))
    return t, y


def moments_of(t, y, step=97):
    sums = Moments(t.shape[1], y.shape[1])
    for start in range(0, len(t), step):
        sums.add(torch.tensor(t[start : start + step]), torch.tensor(y[start : start + step]), start)
    return sums


def brute(t, y, variance):
    """(I(T; Y), I(X; T)) of every k from the joint covariance, by determinants of its own for each k."""
    joint = np.cov(np.hstack([t, y]).T, bias=True)
    width, about_y, about_x = t.shape[1], [], []
    joint[:width, :width] += variance * np.eye(width)
    of_y = np.linalg.slogdet(joint[width:, width:])[1]
    for k in range(1, width + 1):
        pick = [*range(k), *range(width, len(joint))]
        of_t = np.linalg.slogdet(joint[:k, :k])[1]
        about_y.append(0.5 * (of_t + of_y - np.linalg.slogdet(joint[np.ix_(pick, pick)])[1]))
        about_x.append(0.5 * (of_t - k * np.log(variance)))
    return np.array(about_y), np.array(about_x)


def test_one_pass_of_moments_is_the_dense_covariance_and_each_fold_can_be_left_out():
    t, y = data(503)
    sums, z = moments_of(t, y), np.hstack([t, y])
    assert np.allclose(sums.covariance(), np.cov(z.T, bias=True), atol=1e-10)
    for fold in (0, FOLDS - 1):
        kept = z[np.arange(len(z)) % FOLDS != fold]
        assert np.allclose(sums.covariance(fold), np.cov(kept.T, bias=True), atol=1e-10)


def test_information_is_that_of_dense_log_determinants_at_every_rank():
    t, y = data(700)
    about_y, about_x = gaussian(moments_of(t, y).covariance(), 4, 0.05)
    expected_y, expected_x = brute(t, y, 0.05)
    assert np.allclose(about_y, expected_y, atol=1e-6) and np.allclose(about_x, expected_x, atol=1e-9)


def test_estimate_and_error_are_the_jackknife_of_dense_computations():
    t, y = data(400)
    known, variance = information(moments_of(t, y), beta=0.1, noise=0.01), 0.01 * t.var(0).mean()
    whole, folds = brute(t, y, variance)[0], np.arange(len(t)) % FOLDS
    left_out = np.array([brute(t[folds != f], y[folds != f], variance)[0] for f in range(FOLDS)])
    mean = left_out.mean(0)
    assert np.allclose(known.about_y, FOLDS * whole - (FOLDS - 1) * mean, atol=1e-5)
    error = np.sqrt((FOLDS - 1) / FOLDS * ((left_out - mean) ** 2).sum(0))
    assert np.allclose(known.about_y_error, error, atol=1e-5)


def test_what_is_known_to_be_there_is_measured_within_its_error():
    """y_i = t_i + N(0, 1): I = ½ log(1 + var_i) for each of two directions, and nothing for the others."""
    truth = 0.5 * np.log(1 + np.array([4.0, 1.0, 0.0, 0.0])).cumsum()
    inside = 0
    for seed in range(20):
        known = information(moments_of(*data(2000, seed)), beta=0.05, noise=1e-6)
        inside += int((np.abs(known.about_y.numpy() - truth) < 2.3 * known.about_y_error.numpy()).sum())
    assert inside >= 68, "t of 9 degrees: 95 % of 80 are within 2.26 errors"


def test_the_rank_is_that_of_the_directions_that_say_something():
    for seed in range(5):
        assert information(moments_of(*data(4000, seed)), beta=0.02, noise=0.01).rank == 2
    assert information(moments_of(*data(4000)), beta=10.0, noise=0.01).rank == 1, "x is too dear"


def test_without_a_relation_chance_is_not_taken_for_information():
    """The plain estimate is k·c / 2n nats too high; the jackknife takes that off."""
    random, plain, corrected = np.random.default_rng(1), [], []
    for _ in range(30):
        t, y = random.standard_normal((150, 4)), random.standard_normal((150, 2))
        sums = moments_of(t, y)
        plain.append(float(gaussian(sums.covariance(), 4, 0.01)[0][-1]))
        corrected.append(float(information(sums, 0.0, 0.01).about_y[-1]))
    assert np.mean(plain) == pytest.approx(4 * 2 / 300, rel=0.3)
    assert abs(np.mean(corrected)) < np.mean(plain) / 4
