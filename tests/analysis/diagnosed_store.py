"""Side records of finished runs with planted numbers: G(W), bounds and forgetting."""

import numpy as np

from harness.ledger.side_record import SideRecord, write
from harness.ledger.store import Store

ORDER = {"head": 0.01, "cla": 0.1, "lora": 0.2, "full": 0.4}  # G(W) grows with `parameters`, and falls with the norm
RETAINED = {"head": 0.96, "cla": 0.875, "lora": 0.625, "full": 0.5}  # of seed 1; others differ by a 16th and a half


def write_sides(runs):
    """A side record of three kinds in every run folder."""
    store = Store(runs)
    for record in store.records():
        method, seed = record.spec["method"]["name"], record.spec["seed"]
        gap = ORDER[method] + 0.001 * (seed - 1)
        bounds = {"parameters": 1000 * ORDER[method], "update_norm": 1 / ORDER[method], "printed_log_phi_delta": 3.0}
        answers = {
            "generalization": _generalization(-gap, seed),
            "bounds": bounds,
            "forgetting": _forgetting(method, seed),
        }
        for kind, answer in answers.items():
            side = SideRecord(kind, 1, record.id, {"checkpoint": "selected", "rows": 2000}, answer, {})
            write(store.paths(record.id), side)


def retained(method, seed):
    """The planted accuracy after."""
    return RETAINED[method] - (0.0 if method == "head" else (seed - 1) / 32)


def _forgetting(method, seed):
    return {
        "set": "digits 0 to 4",
        "examples": "same",
        "n": 1000,
        "loss_before": 0.1,
        "loss_after": 0.1 + ORDER[method],
        "accuracy_before": 0.96,
        "accuracy_after": retained(method, seed),
    }


def _generalization(gap, seed):
    noise = np.random.default_rng(seed).normal(0, 0.1, 40)
    noise -= noise.mean()

    def split(loss):
        return {"loss": loss, "losses": (loss + noise).tolist(), "weights": [1] * 40, "examples": "same"}

    return {"g": abs(gap), "gap": gap, "train": split(0.5), "test": split(0.5 + gap)}
