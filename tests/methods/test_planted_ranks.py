"""A teacher whose update has ranks 2, 8, 0 and 4 in its four layers, and what each strategy finds of them."""

from functools import partial

import pytest
import torch
from torch import nn

from harness.training.optimizer import apply_change, set_rate
from harness.training.procedures.hypergradient import bilevel_backward
from methods.build import build
from methods.method import Layout, Progress
from methods.training import Training

RANKS, START, STEPS = (2, 8, 0, 4), 10, 1500
SIZES = ((20, 24), (24, 20), (28, 20), (20, 28))  # (out, in)


class Layers(nn.Module):
    """Four linear layers side by side, each with inputs of its own, so that the update of each can be known."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.blocks = nn.ModuleList(nn.ModuleDict({"linear": nn.Linear(i, o, bias=False)}) for o, i in SIZES)

    def weights(self):
        """Each layer's weight as its outputs for all unit inputs: the expected output for white inputs."""
        return [block["linear"](torch.eye(i)) for block, (_, i) in zip(self.blocks, SIZES, strict=True)]


def teacher(student):
    """The student's start plus updates with singular values 1 to 2."""
    generator, targets = torch.Generator().manual_seed(5), []
    for weight, rank, (out, width) in zip(student.weights(), RANKS, SIZES, strict=True):
        u, _ = torch.linalg.qr(torch.randn(width, max(rank, 1), generator=generator))
        v, _ = torch.linalg.qr(torch.randn(out, max(rank, 1), generator=generator))
        values = torch.linspace(2, 1, rank) if rank else torch.zeros(1)
        targets.append(weight.detach() + (u * values) @ v.T)
    return targets


def truth(student):
    return [target - w.detach() for w, target in zip(student.weights(), teacher(student), strict=True)]


def error(updates):
    """Relative, of all weights together."""
    true = truth(Layers())
    wrong = sum((u - t).square().sum() for u, t in zip(updates, true, strict=True))
    return (wrong / sum(t.square().sum() for t in true)).sqrt().item()


def trained(lab, spec, lr=1e-2):
    """STEPS steps at a cosine rate on the teacher's outputs: (method, what each weight has learned)."""
    student = Layers()
    start, targets = [w.detach() for w in student.weights()], teacher(student)
    method = build(spec, Layout({"q": "linear"}, ()))
    method.attach(student, lab.draw(1))
    method.begin(Training(STEPS, STEPS, lr))
    groups = partial(_with_base, method, lr)
    optimizer = torch.optim.AdamW(groups())
    for step in range(1, STEPS + 1):
        set_rate(optimizer, 0.5 * (1 + torch.cos(torch.tensor(torch.pi * step / STEPS)).item()))
        set_gradients(method, optimizer, partial(loss_of, student, targets))
        optimizer.step()
        change = method.after_step(Progress(step, STEPS, STEPS))
        optimizer.zero_grad()
        apply_change(optimizer, change, groups)
    return method, [w.detach() - first for w, first in zip(student.weights(), start, strict=True)]


def loss_of(student, targets):
    return sum((w - t).square().sum() for w, t in zip(student.weights(), targets, strict=True))


def set_gradients(method, optimizer, loss):
    """Of the loss and the penalty; of AutoLoRA's selection variables, while there are any, the hypergradient."""

    def backward():
        (total := loss() if (penalty := method.penalty()) is None else loss() + penalty).backward()
        return total.detach()

    selection = [p for group in optimizer.param_groups if group["name"] == "selection" for p in group["params"]]
    if not selection:
        return backward()
    inner = [
        (p, group["lr"]) for group in optimizer.param_groups if group["name"] == "adapter" for p in group["params"]
    ]
    return bilevel_backward(*zip(*inner, strict=True), selection, backward, backward)


def _with_base(method, lr):
    return [group | {"base_lr": group["lr"]} for group in method.groups(lr, lr, 0.0)]


def selected(method):
    return tuple(update.a.shape[0] for update in method.updates.values())


def gates(method):
    return tuple(int(update.gate.count_nonzero()) for update in method.updates.values())


def kept(method):
    """Of the peft library's AdaLoRA: components that the budget left."""
    return tuple(int((p != 0).sum()) for name, p in method.tensors().items() if "lora_E" in name)


def by_spectrum(updates):
    """Singular values above a tenth of the largest of all layers."""
    values = [torch.linalg.svdvals(update) for update in updates]
    largest = max(v[0] for v in values)
    return tuple(int((v > 0.1 * largest).sum()) for v in values)


def of_rank(rank, **changes):
    return {"targets": ["q"], "rank": rank, "alpha": float(rank), **changes}


ADALORA = {"init_r": START, "target_r": 4, "lora_alpha": START, "tinit": 500, "tfinal": 500, "deltaT": 10,
           "beta1": 0.85, "beta2": 0.85, "orth_reg_weight": 0.5}  # fmt: skip
STRATEGIES = {
    "lora": (of_rank(START), None),  # the spectrum of what plain LoRA learned
    "sora": (of_rank(START, l1=20.0, shrink=1e-4), gates),
    "l1ra": (of_rank(4, shrink=5e-3, rounds=10), gates),  # it keeps the sum of ranks: two more than the truth's
    "adalora": ({"targets": ["q"], "options": ADALORA}, kept),  # the same sum at its end
    "autolora": (of_rank(START, gate=0.15), selected),  # shares part within the search; both levels on the same loss
}


def parameters(ranks):
    return sum(rank * (out + width) for rank, (out, width) in zip(ranks, SIZES, strict=True))


def best_of_uniform_lora(ranks):
    """(rank, relative error): the lowest rank for all that takes at least as many parameters as `ranks`, and the least
    error that any updates of that rank have (Eckart and Young)."""
    rank = next(rank for rank in range(max(ranks) + 1) if parameters([rank] * 4) >= parameters(ranks))
    student = Layers()
    values = [torch.linalg.svdvals(update).square() for update in truth(student)]
    return rank, (sum(v[rank:].sum() for v in values) / sum(v.sum() for v in values)).sqrt().item()


@pytest.mark.long
def test_the_planted_ranks_are_found_and_the_errors_stand_side_by_side(lab):
    """SoRA's gates may keep a component twice where the truth has many.

    AutoLoRA keeps what weighs at least a fair share, and so all of a weight without an update, whose shares are equal.
    """
    errors, found, uniform = {}, {}, {}
    for name, (changes, count) in STRATEGIES.items():
        method, updates = trained(lab, lab.spec(name, **changes))
        errors[name], spectrum = error(updates), by_spectrum(updates)
        found[name] = count(method) if count else spectrum
        rank, uniform[name] = best_of_uniform_lora(found[name])
        print(f"{name:8} relative error {errors[name]:.4f}  ranks {found[name]}  spectrum {spectrum}  "
              f"uniform LoRA of rank {rank} at best {uniform[name]:.4f}")  # fmt: skip
        assert spectrum == tuple(map(min, RANKS, found[name]))
    for name in ("sora", "l1ra", "adalora"):
        first, largest, none, last = found[name]
        assert none == 0, "the layer without an update has no gate left"
        assert abs(first - 2) <= 1 and -1 <= largest - 8 <= 2 and abs(last - 4) <= 1
    *updated, none = (found["autolora"][layer] for layer in (0, 1, 3, 2))
    assert none == START and all(abs(rank - true) <= 2 for rank, true in zip(updated, (2, 8, 4), strict=True))
    assert errors["lora"] < 1e-3 and errors["sora"] < 0.1 and max(errors.values()) < 0.3
    assert all(errors[name] < uniform[name] / 2 for name in ("sora", "l1ra", "adalora")), "more than uniform LoRA can"
