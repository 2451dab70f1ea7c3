"""Subspace similarity between the runs of a sweep, on directions that were planted."""

import numpy as np
import pytest
import torch

import analysis
from analysis.figures.subspaces import subspace_maps
from analysis.stats.subspaces import chance, similarity
from analysis.tables.subspaces import subspace_table
from harness.diagnostics import subspaces as measured
from tests.analysis.diagnosed_store import SPACE, write_sides


@pytest.fixture
def frame(written):
    runs = written()
    write_sides(runs)
    return analysis.load("tiny", runs, partial=True, allow_mixed=True)


def test_similarity_and_chance_are_those_of_the_diagnostics():
    draw = np.random.default_rng(0)
    one, other = (np.linalg.qr(draw.normal(size=(12, count)))[0] for count in (3, 5))
    theirs = measured.similarity(torch.from_numpy(one), torch.from_numpy(other))
    assert np.allclose(similarity(one.T, other.T), theirs) and np.allclose(chance(12, 3, 5), measured.chance(12, 3, 5))


def test_equal_subspaces_have_one_and_independent_ones_the_chance_level(frame):
    data = subspace_table(frame).data
    assert "Head only" not in {*data["method"], *data["other"]}
    block = data[data["block"] == frame.blocks[0]].set_index(["method", "other"])
    own = block.loc[("cLA", "cLA")]
    assert (own["k"], own["pairs"], own["right_k"], own["right_first"]) == (4, 3, 1, 1)
    for pair, k, pairs in ((("LoRA", "LoRA"), 6, 3), (("LoRA", "cLA"), 4, 9)):
        row = block.loc[pair]
        assert (row["k"], row["pairs"], row["right_chance"]) == (k, pairs, pytest.approx(k / SPACE))
        assert abs(row["right_k"] - k / SPACE) < 0.06  # of 3 or 9 pairs of two weights
    assert block.loc[("LoRA", "cLA")]["left_k"] == pytest.approx(1)


def test_the_map_draws_phi_and_crosses_what_chance_gives(frame):
    picture = subspace_maps(frame)
    cells = picture.data.set_index(["method", "other", "i", "j"])
    assert "<svg" in picture.svg and np.allclose(cells.loc[("cLA", "cLA"), "phi"].loc[(2, 2)], 1)
    assert cells.loc[("LoRA", "cLA"), "chance"].loc[(2, 3)] == pytest.approx(3 / SPACE)
    assert subspace_maps(frame, "no such block") is None


def test_what_was_not_diagnosed_has_no_table(written):
    plain = analysis.load("tiny", written(), partial=True, allow_mixed=True)
    assert subspace_table(plain) is None and subspace_maps(plain) is None
