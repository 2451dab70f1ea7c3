"""Side records of finished runs with planted numbers: G(W), and of the other kinds."""

import numpy as np

from harness.ledger.side_record import SideRecord, write
from harness.ledger.store import Store

ORDER = {"head": 0.01, "cla": 0.1, "lora": 0.2, "full": 0.4}  # G(W) grows with `parameters`, and falls with the norm
SPACE = 40  # dimension of the planted directions
RETAINED = {"head": 0.96, "cla": 0.875, "lora": 0.625, "full": 0.5}  # of seed 1; others differ by a 16th and a half


def write_sides(runs):
    """A side record of six kinds in every run folder."""
    store = Store(runs)
    for record in store.records():
        method, seed = record.spec["method"]["name"], record.spec["seed"]
        gap = ORDER[method] + 0.001 * (seed - 1)
        bounds = {"parameters": 1000 * ORDER[method], "update_norm": 1 / ORDER[method], "printed_log_phi_delta": 3.0}
        answers = {
            "generalization": _generalization(-gap, seed),
            "bounds": bounds,
            "forgetting": _forgetting(method, seed),
            "curvature": {"largest_eigenvalue": 10 * ORDER[method] + seed, "trace": 7.0, "trace_error": 0.5},
            "subspaces": {"weights": [_directions(method, seed, layer) for layer in range(2)]},
            "landscape": _landscape(ORDER[method], bool(seed)),
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


def _directions(method, seed, layer):
    """Right: cLA has the same ones in all seeds, LoRA random ones, and the head none. Left: LoRA's hold cLA's."""
    draw = np.random.default_rng([seed, layer, len(method)])
    right = np.eye(SPACE)[:4] if method == "cla" else np.linalg.qr(draw.normal(size=(SPACE, 6)))[0].T
    left = np.eye(SPACE)[: 4 if method == "cla" else 6]
    chosen = [] if method == "head" else right.tolist(), [] if method == "head" else left.tolist()
    return {"path": f"layers.{layer}.q", "right": chosen[0], "left": chosen[1]}


def _landscape(height, is_line):
    """Of a bowl that rises by height · radius² on a disk, and a path of a line or, of seed 0, of three points."""
    radii = [0.5, 1.0]
    path = {"names": ["selected", "start"], "points": [[0.0], [1.0]], "explained": [1.0]}
    if not is_line:
        points = [[0.0, 0.0], [1.0, 0.0], [-0.5, 0.5]]
        path = {"names": ["selected", "start", "last"], "points": points, "explained": [0.8, 0.2]}
    steps = [[-1.0, 0.0, 1.0]] * (1 if is_line else 2)
    return {
        "loss": 0.3,
        "ring_rise": height / 4,
        "ring_rise_max": 1.0,
        "radii": radii,
        "losses": [[0.3 + height * radius**2] * 4 for radius in radii],
        "path": {**path, "steps": steps, "losses": [0.3 + height] * 3 ** len(steps)},
    }


def _generalization(gap, seed):
    noise = np.random.default_rng(seed).normal(0, 0.1, 40)
    noise -= noise.mean()

    def split(loss):
        return {"loss": loss, "losses": (loss + noise).tolist(), "weights": [1] * 40, "examples": "same"}

    return {"g": abs(gap), "gap": gap, "train": split(0.5), "test": split(0.5 + gap)}
