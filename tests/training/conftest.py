"""Small real values for the tests of the harness."""

import pytest

from harness.ledger.parse import parse
from harness.ledger.spec import RecipeSpec

RECIPE = {
    "name": "test", "epochs": 1, "max_steps": None, "batch_size": 8, "accumulate": 1, "eval_batch_size": 32, "lr": 1e-3,
    "head_lr": 1e-3, "schedule": "linear", "final_lr_ratio": 0.0, "warmup_ratio": 0.0, "weight_decay": 0.0,
    "betas": [0.9, 0.999], "eps": 1e-8, "clip_norm": 1.0, "precision": "float32", "gradient_checkpointing": False,
    "evaluations": 1, "early_stop": None, "train_loss": False, "about": {},
}  # fmt: skip


@pytest.fixture
def recipe():
    """A recipe with some values changed."""
    return lambda **change: parse(RecipeSpec, RECIPE | change, "recipe")
