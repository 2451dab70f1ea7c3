"""Whole trainings against the definitions: W + s·B·A written out densely, on a model that nothing is attached to.

Chains, LoRA+'s two rates and accumulation are in it; all in float64. The reference shares with the methods only where
the sites are, the first values of a factor, and which columns a selector takes.
"""

import pytest
import torch
from torch.func import functional_call

from methods.sites import find_sites
from methods.spec import Columns
from methods.update.init import factor
from methods.update.selector import select

STEPS, LINKS, LR = 9, 4, 1e-2
CHAINS = ("cola", "rac", "rac_b", "c3la", "r_c3la", "cpaca", "dcpaca")
PLAIN = ("lora", "lora_plus", "asym", "asym_b", "cla", "r_cla", "paca", "dpaca")


class Dense:
    """W (out, in), A and B of every site as plain tensors; a chain's link end is W += s·B·A and new A, B."""

    def __init__(self, lab, tiny, spec):
        self.tiny, self.spec, self.draw = tiny, spec, lab.draw(0)
        tiny.model.requires_grad_(False)
        self.sites = find_sites(tiny.model, tiny.layout, spec.targets)
        self.scale = spec.update.alpha / spec.update.rank
        self.w = {site.path: site.weight.clone() for site in self.sites}
        self.head = [
            p.requires_grad_() for path in tiny.layout.head for p in tiny.model.get_submodule(path).parameters()
        ]
        self.head_optimizer = torch.optim.AdamW(self.head, lr=LR, weight_decay=0.0) if self.head else None
        self.begin(0)

    def begin(self, link):
        self.a, self.b = {}, {}
        for site in self.sites:
            self.a[site.path], self.b[site.path] = (t.double() for t in self._factors(site, link))
        update = self.spec.update
        train_a, train_b = (False, True) if isinstance(update, Columns) else (update.train_a, update.train_b)
        groups = [{"params": list(self.a.values()), "lr": LR}] if train_a else []
        groups += [{"params": list(self.b.values()), "lr": LR * self.spec.rates.b_over_a}] if train_b else []
        for tensor in (t for group in groups for t in group["params"]):
            tensor.requires_grad_()
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.0)  # moments start fresh with a link

    def _factors(self, site, link):
        update, (out, width) = self.spec.update, self.w[site.path].shape
        if not isinstance(update, Columns):
            generator = self.draw("init", "adapter", site.path, link)
            return [factor(update.init_a, (update.rank, width), generator),
                    factor(update.init_b, (out, update.rank), generator)]  # fmt: skip
        index = select(update, width, site.path, link, self.draw)
        b = torch.zeros(out, update.rank)
        if update.start == "weight":  # PaCA: the columns themselves are what is trained
            b = self.w[site.path][:, index] / self.scale
            self.w[site.path][:, index] = 0.0
        return torch.eye(width)[index], b

    def logits(self, inputs):
        weights = {}
        for site in self.sites:
            name = f"{site.module_path}.weight"
            if name not in weights:
                stored = site.module.weight
                weights[name] = (stored.t() if site.transposed else stored).clone()
            now = self.w[site.path] + self.scale * self.b[site.path] @ self.a[site.path]
            weights[name] = torch.cat([weights[name][: site.low], now, weights[name][site.high :]])
        stored = {f"{site.module_path}.weight": site.transposed for site in self.sites}
        weights = {name: w.t() if stored[name] else w for name, w in weights.items()}
        return functional_call(self.tiny.model, weights, kwargs=inputs).logits

    def train(self):
        ends = {round(j * STEPS / LINKS) for j in range(1, LINKS)} if self.spec.schedule.kind == "chain" else set()
        for step in range(1, STEPS + 1):
            loss(self.logits(self.tiny.inputs)).backward()
            for optimizer in (self.optimizer, self.head_optimizer):
                if optimizer:
                    optimizer.step()
                    optimizer.zero_grad()
            if step in ends:
                with torch.no_grad():
                    for path, w in self.w.items():
                        w += self.scale * self.b[path] @ self.a[path]
                self.begin(sum(end <= step for end in ends))


def loss(logits):
    """A mean over examples, so that micro-batches of one size add up to it."""
    return (logits.square() + torch.linspace(-1, 1, logits.shape[-1], dtype=logits.dtype) * logits).mean()


def check(lab, family, name, **changes):
    links = {"links": LINKS} if name in CHAINS else {}
    ours, theirs = (lab.tiny(family, dtype=torch.float64) for _ in range(2))
    spec = lab.spec(name, **links, **changes)
    start = ours.logits().detach()
    method = lab.attach(ours, spec)
    ours.loss = lambda: _accumulated(ours)
    lab.train(ours, method, STEPS, lr=LR)
    reference = Dense(lab, theirs, spec)
    reference.train()
    expected = reference.logits(theirs.inputs)
    assert (ours.logits() - expected).abs().max() < 1e-10
    assert (expected - start).abs().max() > 1e-3
    method.merge()
    assert (ours.logits() - expected).abs().max() < 1e-10


def _accumulated(tiny):
    """The loss over micro-batches of one example: all but the last are done with their backward pass here."""
    parts = [{key: rows[n : n + 1] for key, rows in tiny.inputs.items()} for n in range(3)]
    for inputs in parts[:-1]:
        (loss(tiny.model(**inputs).logits) / 3).backward()
    return loss(tiny.model(**parts[-1]).logits) / 3


@pytest.mark.parametrize("family", ["bert", "gpt2"])
@pytest.mark.parametrize("name", [*PLAIN, *CHAINS])
def test_a_whole_training_is_that_of_the_dense_definition(lab, family, name):
    check(lab, family, name)


@pytest.mark.parametrize("name", ["lora_plus", "cola", "r_c3la", "cpaca"])
@pytest.mark.parametrize("family", ["deberta", "vit", "llama"])
def test_all_linear_layers_at_a_rank_that_divides_nothing(lab, family, name):
    targets = list(lab.tiny(family).layout.targets)
    check(lab, family, name, targets=targets, rank=5, alpha=7.0)
