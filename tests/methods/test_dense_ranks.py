"""Whole trainings of methods whose rank is learned, drawn, grown or moved, against their formulas written out densely.

All in float64, on a model that nothing is attached to, by an Adam of its own. The reference shares with the methods
where the sites are and what is drawn.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from methods.sites import find_sites
from methods.update.init import factor

STEPS, LR, SCALE = 9, 1e-2, 2.0  # alpha / rank


class Adam:
    """One tensor's (arXiv:1412.6980, Algorithm 1)."""

    def __init__(self, value: Tensor, rate: float = LR):
        self.value, self.rate, self.t = value.double().requires_grad_(), rate, 0
        self.m, self.v = torch.zeros_like(self.value), torch.zeros_like(self.value)

    def step(self, g: Tensor) -> None:
        self.t += 1
        self.m = 0.9 * self.m + 0.1 * g
        self.v = 0.999 * self.v + 0.001 * g**2
        m, v = self.m / (1 - 0.9**self.t), self.v / (1 - 0.999**self.t)
        self.value = (self.value.detach() - self.rate * m / (v.sqrt() + 1e-8)).requires_grad_()

    def put(self, value: Tensor) -> None:
        """Another value, the moments as they are."""
        self.value = value.detach().double().requires_grad_()


Weights = dict[str, dict[str, Adam]]  # site path -> a, b and what else the method has
Start = Callable[..., dict[str, Adam]]


@dataclass(frozen=True)
class Rule:
    """delta: ΔW of one weight at a step, None at the end. after: what is done after a step. penalty: of all weights."""

    more: Callable[..., dict[str, Adam]] = lambda draw, path: {}
    delta: Callable[..., Tensor] = lambda p, step, draw: SCALE * p["b"].value @ p["a"].value
    after: Callable[..., None] = lambda weights, step, draw: None
    penalty: Callable[..., Tensor | float] = lambda weights: 0.0
    scale: float = SCALE


def gated(p, step, draw):
    return SCALE * p["b"].value @ torch.diag(p["gate"].value) @ p["a"].value


def soft_threshold(weights, by):
    for p in weights.values():
        g = p["gate"].value
        p["gate"].put(g.sign() * (g.abs() - by).clamp_min(0))


# SoRA: λ·Σ|g| / #g in the loss, the proximal operator after each step

SORA = Rule(
    more=lambda draw, path: {"gate": Adam(torch.randn(4, generator=draw("init", "gate", path, 0)))},
    delta=gated,
    after=lambda weights, step, draw: soft_threshold(weights, 0.05),
    penalty=lambda weights: 10.0 * torch.cat([p["gate"].value for p in weights.values()]).abs().mean(),
)


# L1RA: after every step, gates that are gone are cut, and others grow; on a change all moments begin anew


def reassigned(weights, step, draw):
    soft_threshold(weights, 0.175)
    if step == STEPS:
        return
    gates = {path: p["gate"].value.detach().tolist() for path, p in weights.items()}
    kept = {path: [i for i, g in enumerate(each) if g >= 1e-10] for path, each in gates.items()}
    kept = {
        path: indices or [max(range(len(gates[path])), key=gates[path].__getitem__)] for path, indices in kept.items()
    }
    whole = [path for path in gates if len(kept[path]) == len(gates[path])]
    order, new = sorted(whole, key=lambda path: -min(gates[path])), dict.fromkeys(gates, 0)
    free = 4 * len(gates) - sum(len(indices) for indices in kept.values())
    for turn in range(free if order else 0):
        new[order[turn % len(order)]] += 1
    if all(len(kept[path]) == len(gates[path]) and not new[path] for path in gates):
        return
    for path, p in weights.items():
        rank = len(kept[path]) + new[path]
        a, b, g = (p[name].value.detach() for name in ("a", "b", "gate"))
        rows = torch.randn(new[path], a.shape[1], generator=draw("init", "reassign", path, step)) / rank
        p["a"] = Adam(torch.cat([a[kept[path]], rows.double()]))
        p["b"] = Adam(torch.cat([b[:, kept[path]], b.new_zeros(len(b), new[path])], dim=1))
        p["gate"] = Adam(torch.cat([g[kept[path]], g.new_ones(new[path])]), 2e-2)


L1RA = Rule(more=lambda draw, path: {"gate": Adam(torch.ones(4), 2e-2)}, delta=gated, after=reassigned)


# DyLoRA: the first b components at scale alpha / b, of which the last is trained


def nested(p, step, draw):
    a, b = p["a"].value, p["b"].value
    if step is None:
        return SCALE * b @ a
    first = int(torch.randint(4, (1,), generator=draw("rank", "nested", step)))
    frozen = b[:, :first].detach() @ a[:first].detach()
    return 8.0 / (first + 1) * (frozen + torch.outer(b[:, first], a[first]))


# Growth by doubling: new rows of A, zero columns of B, zero moments for both


def doubled(weights, step, draw):
    rank = min(2 * 2 ** (step // 3), 8)
    for path, p in weights.items():
        a, b = p["a"], p["b"]
        if (more := rank - len(a.value)) and step < STEPS:
            rows = factor("kaiming_uniform", (more, a.value.shape[1]), draw("init", "grow", path, step)).double()
            a.m, a.v = (torch.cat([t, torch.zeros_like(rows)]) for t in (a.m, a.v))
            a.put(torch.cat([a.value, rows]))
            columns = torch.zeros(len(b.value), more, dtype=torch.float64)
            b.m, b.v = (torch.cat([t, columns], dim=1) for t in (b.m, b.v))
            b.put(torch.cat([b.value, columns], dim=1))


# By entry: Sine-LoRA, and our reading of LR-LoRA


def sine(p, step, draw):
    return SCALE * (200.0 * p["b"].value @ p["a"].value).sin() / p["a"].value.shape[1] ** 0.5


def phi(z, height, width):
    """Σ_k h_k·sin(u_k) / u_k with u_k = ω_k·(z - c_k)."""
    centres, terms = torch.linspace(-2, 2, 8, dtype=torch.float64), []
    for h, w, c in zip(height, width, centres, strict=True):
        u = torch.log1p(w.exp()) * (z - c)
        terms.append(h * torch.where(u == 0, 1.0, u.sin() / u.where(u != 0, torch.ones_like(u))))
    return torch.stack(terms).sum(0)


def fitted(draw, path):
    """Heights that make φ(z) - φ(0) closest to z on [-2, 2], by the pseudo-inverse; widths whose softplus is 1."""
    z, one = (
        torch.linspace(-2, 2, 257, dtype=torch.float64),
        torch.full((8,), math.log(math.e - 1), dtype=torch.float64),
    )
    basis = torch.stack([phi(z, h, one) - phi(torch.zeros_like(z), h, one) for h in torch.eye(8).double()], dim=1)
    return {"height": Adam(torch.linalg.pinv(basis, rtol=1e-6) @ z), "width": Adam(one)}


def sinc(p, step, draw):
    product, shape = p["b"].value @ p["a"].value, (p["height"].value, p["width"].value)
    return SCALE * (phi(product, *shape) - phi(torch.zeros_like(product), *shape))


CASES = {
    "sora": (SORA, {"shrink": 0.05}),
    "l1ra": (L1RA, {"shrink": 0.175, "rounds": 9}),
    "dylora": (Rule(delta=nested), {}),
    "grow": (Rule(after=doubled), {"every": 3, "max_rank": 8}),
    "sine_lora": (Rule(delta=sine), {}),
    "lr_lora": (Rule(more=fitted, delta=sinc), {}),
}


def dense_logits(tiny, sites, rule, draw):
    """The logits after a training by the rule, and the last weights."""
    first = 2 if rule.after is doubled else 4
    tiny.model.requires_grad_(False)
    weights: Weights = {}
    for site in sites:
        a = factor("kaiming_uniform", (first, site.in_features), draw("init", "adapter", site.path, 0))
        weights[site.path] = {"a": Adam(a), "b": Adam(torch.zeros(site.out_features, first))} | rule.more(
            draw, site.path
        )
    head = {f"{path}.{name}": Adam(p.detach().clone()) for path in tiny.layout.head
            for name, p in tiny.model.get_submodule(path).named_parameters()}  # fmt: skip

    def logits(step):
        now = {f"{s.module_path}.weight": s.weight + rule.delta(weights[s.path], step, draw) for s in sites}
        return functional_call(tiny.model, now | {name: p.value for name, p in head.items()}, kwargs=tiny.inputs).logits

    for step in range(STEPS):
        trained = [each for p in weights.values() for each in p.values()] + list(head.values())
        out = logits(step)
        loss = (out.square() + torch.linspace(-1, 1, out.numel()).view_as(out) * out).mean() + rule.penalty(weights)
        gradients = torch.autograd.grad(loss, [each.value for each in trained])
        for each, gradient in zip(trained, gradients, strict=True):
            each.step(gradient)
        rule.after(weights, step + 1, draw)
    return logits(None), weights


@pytest.mark.parametrize("name", CASES)
def test_a_whole_training_is_that_of_the_formula(lab, name):
    rule, changes = CASES[name]
    ours, theirs = (lab.tiny("bert", dtype=torch.float64) for _ in range(2))
    spec = lab.spec(name, **changes)
    if name == "grow":
        spec = replace(spec, update=replace(spec.update, rank=2, alpha=4.0))
    method = lab.attach(ours, spec)
    lab.train(ours, method, STEPS, lr=LR)
    sites = find_sites(theirs.model, theirs.layout, spec.targets)
    start = theirs.logits().detach()
    expected, weights = dense_logits(theirs, sites, rule, lab.draw(0))
    ours.model.eval()
    rounding = 1e-6 if name == "lr_lora" else 1e-9  # ω's first gradients are nothing but rounding, which Adam enlarges
    assert (ours.logits() - expected).abs().max() < rounding
    assert (expected - start).abs().max() > 1e-3
    ranks = [len(p["a"].value) for p in weights.values()]
    assert [len(update.a) for update in method.updates.values()] == ranks
    if name == "sora":
        assert any((p["gate"].value == 0).any() for p in weights.values())
    if name == "l1ra":
        assert min(ranks) < 4 < max(ranks), "components were cut, and others given out"
