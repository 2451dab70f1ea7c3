"""Theorem 1 of Beyond LoRA (arXiv:2606.13767), both terms in closed form and in logarithms.

G(W0 + dW) <= min(G(W0) + phi_delta, G(dW) + phi_pretrained) for a fully connected net of L layers, with w_l = ||W0_l||,
d_l = ||dW_l|| (spectral), lambda_l the Lipschitz constants of the activations and z_l = ||sigma_l(0)||. Inputs are at
most of norm C, and the loss is Lipschitz with constant K. Printed are sums over 2^L layer-wise choices of W0 or dW.

Two readings of what is printed. `layerwise` takes the exponent 2^(L-j) in P(i, j), and odd as W0 in H as it is in P:
each layer chooses by itself, and phi_delta is zero at dW = 0. `printed` takes 2^(L-1) as it stands: the choice does not
depend on the layer, so that all layers choose alike. It is given for sigma(0) = 0 alone, and is not zero at dW = 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp


@dataclass(frozen=True)
class TheoremTerms:
    """Natural logarithms; -inf is a term of zero."""

    phi_delta: float
    phi_pretrained: float


def layerwise(
    w: Sequence[float],
    d: Sequence[float],
    *,
    lipschitz: Sequence[float] | None = None,
    zeros: Sequence[float] | None = None,
    inputs: float = 1.0,
    loss: float = 1.0,
) -> TheoremTerms:
    """log of 2K [C prod(lambda) (prod(w+d) - prod(w)) + sum_l z_l prod_{m>l} lambda_m (prod(w+d) - prod(w))].

    w, d, lipschitz (ones) and zeros (none) hold a number for each layer, the first one first. inputs: C; loss: K.
    """
    return TheoremTerms(_phi(w, d, lipschitz, zeros, inputs, loss), _phi(d, w, lipschitz, zeros, inputs, loss))


def printed(w: Sequence[float], d: Sequence[float], *, inputs: float = 1.0, loss: float = 1.0) -> TheoremTerms:
    """The sums with the exponent as printed: 2^(L-1) - 1 times one product, and 2^(L-1) times the other."""
    half = len(w) - 1
    factor = math.log(2 * loss * inputs)
    most, fewer = half * math.log(2), (half * math.log(2) + math.log1p(-(2.0**-half)) if half else -math.inf)
    with np.errstate(divide="ignore"):
        log_w, log_d = float(np.log(w).sum()), float(np.log(d).sum())
    return TheoremTerms(
        factor + float(np.logaddexp(most + log_d, fewer + log_w)),
        factor + float(np.logaddexp(fewer + log_d, most + log_w)),
    )


def _phi(
    kept: Sequence[float],
    added: Sequence[float],
    lipschitz: Sequence[float] | None,
    zeros: Sequence[float] | None,
    inputs: float,
    loss: float,
) -> float:
    """The term whose sum leaves out the choice of `kept` in every layer."""
    w, d = np.asarray(kept, float), np.asarray(added, float)
    rates = np.ones_like(w) if lipschitz is None else np.asarray(lipschitz, float)
    terms = [math.log(inputs) + float(np.log(rates).sum()) + _log_rest(w, d)]
    for layer, zero in enumerate(zeros[:-1] if zeros is not None else ()):
        if zero > 0:
            above = slice(layer + 1, None)
            terms.append(math.log(zero) + float(np.log(rates[above]).sum()) + _log_rest(w[above], d[above]))
    return math.log(2 * loss) + float(logsumexp(terms))


def _log_rest(w: np.ndarray, d: np.ndarray) -> float:
    """log(prod(w + d) - prod(w)), exact where both products are nearly equal or beyond any float."""
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = float(np.log(w + d).sum())
        share = float(np.log1p(d / w).sum()) if w.all() else math.inf  # of the logs of the two products
    if whole == -math.inf or share == 0:
        return -math.inf
    return whole + math.log(-math.expm1(-share))
