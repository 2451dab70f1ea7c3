"""A teacher whose update has ranks 2, 8, 0 and 4 in its four layers, and what each strategy finds of them."""

from functools import partial

import pytest
import torch
from torch import nn

from harness.training.optimizer import apply_change, set_rate
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


def trained(lab, name, lr=1e-2, **changes):
    """STEPS steps at a cosine rate on the teacher's outputs; (method, relative error of the update)."""
    student = Layers()
    start, targets = [w.detach() for w in student.weights()], teacher(student)
    method = build(
        lab.spec(name, targets=["q"], rank=START, alpha=float(START), **changes), Layout({"q": "linear"}, ())
    )
    method.attach(student, lab.draw(1))
    method.begin(Training(STEPS, STEPS, lr))
    groups = partial(_with_base, method, lr)
    optimizer = torch.optim.AdamW(groups())
    for step in range(1, STEPS + 1):
        set_rate(optimizer, 0.5 * (1 + torch.cos(torch.tensor(torch.pi * step / STEPS)).item()))
        loss = sum((w - t).square().sum() for w, t in zip(student.weights(), targets, strict=True))
        (loss if (penalty := method.penalty()) is None else loss + penalty).backward()
        optimizer.step()
        change = method.after_step(Progress(step, STEPS, STEPS))
        optimizer.zero_grad()
        apply_change(optimizer, change, groups)
    wrong = sum((w - t).square().sum() for w, t in zip(student.weights(), targets, strict=True))
    whole = sum((w - t).square().sum() for w, t in zip(start, targets, strict=True))
    return method, (wrong / whole).sqrt().item()


def _with_base(method, lr):
    return [group | {"base_lr": group["lr"]} for group in method.groups(lr, lr, 0.0)]


def gates(method):
    return tuple(int(update.gate.count_nonzero()) for update in method.updates.values())


def by_spectrum(method):
    """Singular values above a tenth of the largest of all layers."""
    values = [torch.linalg.svdvals(update.delta().detach()) for update in method.updates.values()]
    largest = max(v[0] for v in values)
    return tuple(int((v > 0.1 * largest).sum()) for v in values)


STRATEGIES = {
    "lora": {},  # the spectrum of what plain LoRA learned
    "sora": {"l1": 20.0, "shrink": 1e-4},
    "l1ra": {"shrink": 2e-3, "rounds": 10},
}


@pytest.mark.slow
def test_the_planted_ranks_are_found_and_the_errors_stand_side_by_side(lab):
    """SoRA's gates may keep a component twice where the truth has many; L1RA moves ranks and never lowers their sum."""
    errors, counted = {}, {}
    for name, changes in STRATEGIES.items():
        method, errors[name] = trained(lab, name, **changes)
        counted[name] = by_spectrum(method) if name == "lora" else gates(method)
        print(f"{name:5} relative error {errors[name]:.4f}  ranks {counted[name]}  spectrum {by_spectrum(method)}")
        assert by_spectrum(method) == RANKS
    first, largest, none, last = counted["sora"]
    assert (first, none, last) == (2, 0, 4) and 8 <= largest <= START  # the layer without an update has no gate left
    taken = [len(update.gate) for update in method.updates.values()]
    assert taken[1] == max(taken) > START and taken[2] == min(taken) < START and sum(taken) <= 4 * START
    assert errors["lora"] < 1e-3 and errors["l1ra"] < 0.01 and errors["sora"] < 0.1
