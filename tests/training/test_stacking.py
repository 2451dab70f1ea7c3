"""benchmarks/stacking.py compares like with like: a stacked run of several seeds is each seed's own run."""

import pytest
import torch

from benchmarks.stacking import SHAPES, Stack, backbone, batches, difference


def test_stacked_seeds_train_as_separate_runs_do():
    assert difference(3, 4, "cpu") < 1e-12


def test_a_seed_meets_its_own_batch_adapters_and_head_only():
    base = backbone(SHAPES["cpu"][0], torch.float64, "cpu")
    texts, labels = batches(2, 4, 16, "cpu")
    first = Stack(base, [0, 1]).step(texts, labels)
    other = torch.stack([texts[0], texts[0]])
    second = Stack(base, [0, 2]).step(other, torch.stack([labels[0], labels[0]]))
    assert second[0] == pytest.approx(float(first[0]), abs=1e-12)
    assert abs(float(second[1] - first[1])) > 1e-3 and abs(float(second[0] - second[1])) > 1e-3
