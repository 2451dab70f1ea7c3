"""Losses on planes, where the loss is a quadratic and all of them are known exactly, in float64."""

import math

import numpy as np
import pytest
import torch

from harness.diagnostics.landscape import filter_normalised, losses_at, path_plane, rings, steps_around


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def quadratic():
    """Two weights, a loss of them that is quadratic, its value at all of them as one vector, and its Hessian."""
    weights, root = [_normal(3, 4, seed=1), _normal(2, 5, seed=2)], _normal(22, 22, seed=3)
    hessian, slope = root @ root.T, _normal(22, seed=4)

    def value(flat):
        return float(flat @ hessian @ flat / 2 + slope @ flat)

    return weights, lambda: value(_flat(weights)), value, hessian


def _flat(parts):
    return torch.cat([part.flatten() for part in parts])


def test_filter_normalisation_is_that_of_the_definition():
    weights = [_normal(3, 4, seed=1), _normal(2, 5, seed=2)]
    weights[0][1] = 0
    ours = filter_normalised(weights, torch.Generator().manual_seed(7))
    draw = torch.Generator().manual_seed(7)
    for direction, weight in zip(ours, weights, strict=True):
        plain = torch.randn(weight.shape, generator=draw, dtype=torch.float64)
        for row in range(len(weight)):
            theirs = plain[row] * weight[row].norm() / (plain[row].norm() + 1e-10)
            assert torch.allclose(direction[row], theirs, rtol=1e-14, atol=0)
            assert direction[row].norm() == pytest.approx(float(weight[row].norm()), abs=1e-9)


def test_the_landscape_of_a_quadratic_is_the_quadratic(quadratic):
    weights, loss, value, _ = quadratic
    before, axes = _flat(weights), [filter_normalised(weights, torch.Generator().manual_seed(s)) for s in (0, 1)]
    points = [(0.0, 0.0), (0.5, -1.0), *rings((0.3, 2.0), 5)]
    for ours, (x, y) in zip(losses_at(loss, weights, axes, points), points, strict=True):
        assert ours == pytest.approx(value(before + x * _flat(axes[0]) + y * _flat(axes[1])), rel=1e-12)
    assert torch.equal(_flat(weights), before)


def test_the_mean_rise_of_a_quadratic_on_a_ring_is_a_quarter_of_its_curvature(quadratic):
    """r² (aᵀHa + bᵀHb) / 4: the slope and the mixed term cancel over equal angles, from three on."""
    weights, loss, _, hessian = quadratic
    axes = [filter_normalised(weights, torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    (centre,) = losses_at(loss, weights, axes, [(0, 0)])
    curvature = sum(float(_flat(axis) @ hessian @ _flat(axis)) for axis in axes)
    for radius, angles in ((0.5, 8), (2.0, 3)):
        rise = np.mean(losses_at(loss, weights, axes, rings([radius], angles))) - centre
        assert rise == pytest.approx(radius**2 * curvature / 4)


def test_the_weights_are_as_before_where_the_loss_fails(quadratic):
    weights, _, _, _ = quadratic
    before = _flat(weights)

    def fails():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        losses_at(fails, weights, [weights], [(1.0,)])
    assert torch.equal(_flat(weights), before)


def test_a_path_of_three_points_lies_in_its_plane_and_keeps_their_distances():
    path = [[_normal(3, 4, seed=s), _normal(5, 2, seed=9 + s)] for s in range(3)]
    plane = path_plane(path)
    assert plane.points[0] == (0.0, 0.0) and sum(plane.explained) == pytest.approx(1)
    assert plane.explained[0] > plane.explained[1]
    for point, place in zip(path, plane.points, strict=True):
        again = _flat(path[0]) + sum(x * _flat(axis) for x, axis in zip(place, plane.axes, strict=True))
        assert torch.allclose(again, _flat(point))
    singular = torch.linalg.svdvals(torch.stack([_flat(point) - _flat(path[0]) for point in path]))[:2]
    assert plane.explained == pytest.approx((singular.square() / singular.square().sum()).tolist())


def test_two_points_are_a_line_and_one_is_nothing():
    start, end = [_normal(3, 4)], [_normal(3, 4, seed=1)]
    line = path_plane([start, end])
    assert len(line.axes) == 1 and abs(line.points[1][0]) == pytest.approx(float((start[0] - end[0]).norm()))
    assert len(path_plane([start, end, end]).axes) == 1  # the last one is the selected one
    assert path_plane([start, start]).axes == () and path_plane([start, start]).points == ((), ())


def test_steps_hold_the_path_and_a_margin():
    assert steps_around([0.0, 4.0, -1.0], 3) == [-2.25, 1.5, 5.25]
    assert rings([2.0], 4) == [pytest.approx((2 * math.cos(t), 2 * math.sin(t))) for t in np.arange(4) * math.pi / 2]
