"""Theorem 1 in closed form against the sums as they are printed, choice by choice."""

import math

import numpy as np
import pytest

from harness.diagnostics.bounds import count_bound
from harness.diagnostics.theorem import layerwise, printed


def _norms(layers):
    draw = np.random.default_rng(layers)
    return (
        draw.uniform(0.2, 2, layers),
        draw.uniform(0.01, 1, layers),
        draw.uniform(0.5, 2, layers),
        draw.uniform(0, 1, layers),
    )


def _enumerated(w, d, rates, zeros, *, exponent, pretrained, inputs=1.7, loss=0.6):
    """The sums of the paper over i and j; 1-based as printed, with the exponent of P as a function of (L, j)."""
    L = len(w)
    first, last = (2, 2**L) if pretrained else (1, 2**L - 1)

    def p(i, j):
        return w[L - j] if ((i - 1) // 2 ** exponent(L, j)) % 2 else d[L - j]

    def f(i):
        psi = int(math.log2(i))
        product = 1.0
        for j in range(1, psi + 1):
            product *= rates[L - j] * (w[L - j] if (i // 2 ** (psi - j)) % 2 else d[L - j])
        return zeros[L - psi - 1] * product

    main = sum(math.prod(p(i, j) for j in range(1, L + 1)) for i in range(first, last + 1))
    skipped = {2**a for a in range(L)} if pretrained else {2**a - 1 for a in range(1, L + 1)}
    rest = sum(f(i) for i in range(1, 2**L - (0 if pretrained else 1)) if i not in skipped)
    return 2 * loss * (inputs * math.prod(rates) * main + rest)


@pytest.mark.parametrize("layers", range(1, 7))
def test_the_layerwise_reading_equals_its_enumeration(layers):
    w, d, rates, zeros = _norms(layers)
    terms = layerwise(w, d, lipschitz=rates, zeros=zeros, inputs=1.7, loss=0.6)
    for pretrained, value in ((False, terms.phi_delta), (True, terms.phi_pretrained)):
        wanted = _enumerated(w, d, rates, zeros, exponent=lambda L, j: L - j, pretrained=pretrained)
        assert math.exp(value) == pytest.approx(wanted, rel=1e-10)


@pytest.mark.parametrize("layers", range(1, 7))
def test_the_printed_reading_equals_its_enumeration(layers):
    w, d, _, _ = _norms(layers)
    terms = printed(w, d, inputs=1.7, loss=0.6)
    ones, none = np.ones(layers), np.zeros(layers)
    for pretrained, value in ((False, terms.phi_delta), (True, terms.phi_pretrained)):
        wanted = _enumerated(w, d, ones, none, exponent=lambda L, j: L - 1, pretrained=pretrained)
        assert math.exp(value) == pytest.approx(wanted, rel=1e-10)


def test_no_update_has_no_term_in_the_layerwise_reading_alone():
    w, none = [1.0, 2.0, 3.0], [0.0, 0.0, 0.0]
    assert layerwise(w, none).phi_delta == -math.inf
    assert math.exp(printed(w, none).phi_delta) == pytest.approx(2 * 3 * 6)


def test_it_grows_with_each_layers_update_and_holds_beyond_floats():
    w, d = [1e3] * 200, [1e-9] * 200
    small = layerwise(w, d).phi_delta
    assert math.isfinite(small) and small > 700  # e^700 is beyond a float
    assert small == pytest.approx(math.log(2) + 200 * math.log(1e3) + math.log(200e-12), rel=1e-9)
    for layer in range(0, 200, 40):
        assert layerwise(w, [*d[:layer], 2e-9, *d[layer + 1 :]]).phi_delta > small


def test_every_row_of_the_table_of_bounds_has_the_form_of_a_count():
    """RoBERTa-Base on MRPC, LoRA at rank 16 with 32 bits: 84.5 sigma (12 layers, q and v, 3,668 rows)."""
    sum_of_widths, rank = 12 * 2 * (768 + 768), 16
    assert count_bound(rank * sum_of_widths, 1, 32, 3668) == pytest.approx(84.5, abs=0.05)
    assert count_bound(rank * sum_of_widths, 4, 32, 3668) == pytest.approx(2 * 84.5, abs=0.1)
