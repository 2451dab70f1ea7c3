"""Upper bounds of the generalization error: by the number of trained bits, and by spectral norms (Theorem 1).

They are vacuous at these sizes: their order over methods is what can be compared with the measured G(W).
"""

import math
from collections.abc import Mapping
from typing import Any

import torch

from harness.diagnostics.subject import Subject
from harness.diagnostics.theorem import layerwise, printed


def count_bound(parameters: int, links: int, bits: int, rows: int, sigma: float = 1.0) -> float:
    """sqrt(2 ln 2 q sigma^2 k P / N): P parameters of a link (sum of r_i (m_i + n_i), or of r_i n_i where A is frozen).

    Every row of the study's table of bounds is of this form. links: k, all of a chain's count. bits: q, of a stored
    weight. rows: N, of the training split. sigma: the loss is sub-Gaussian with it.
    """
    return math.sqrt(2 * math.log(2) * bits * sigma**2 * links * parameters / rows)


def measure(subject: Subject, question: Mapping[str, Any]) -> dict[str, Any]:
    """The counts and the bound by them (at sigma = 1); Theorem 1's terms over the adapted matrices in both readings.

    Logarithms are natural; null is a term of zero. Heads are trained by every method and enter neither.
    """
    parameters, links, bits, rows = subject.counts["adapter"], subject.links, subject.bits, len(subject.data.train)
    w = [_norm(change.before) for change in subject.changes]
    d = [_norm(change.after - change.before) for change in subject.changes]
    answer: dict[str, Any] = {
        "parameters": parameters,
        "links": links,
        "bits": bits,
        "rows": rows,
        "count_bound": count_bound(parameters, links, bits, rows),
    }
    if w:
        readings = {"layerwise": layerwise(w, d), "printed": printed(w, d)}
        for name, terms in readings.items():
            answer[f"{name}_log_phi_delta"] = _finite(terms.phi_delta)
            answer[f"{name}_log_phi_pretrained"] = _finite(terms.phi_pretrained)
        answer["update_norm"] = math.sqrt(
            sum(float((c.after - c.before).double().square().sum()) for c in subject.changes)
        )
    return answer


def _norm(weight: torch.Tensor) -> float:
    return float(torch.linalg.matrix_norm(weight.double(), 2))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
