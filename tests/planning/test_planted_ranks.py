"""The planted teacher (ranks 2, 8, 0, 4): what is found by searches, by budgets over spectra, and by recommendations.

What learns ranks in its own training: tests/methods/test_planted_ranks.py. A weight keeps rank 1 here.
"""

import pytest
import torch

from harness.planning.budget import captured, exact, greedy
from harness.planning.search.search_spec import read_search
from harness.planning.search.space import Space, Trial
from harness.planning.search.study import best_of, next_trial
from methods.energy import energy_rank
from tests.methods.test_planted_ranks import (
    SIZES,
    Layers,
    best_of_uniform_lora,
    error,
    loss_of,
    parameters,
    teacher,
    truth,
)

FOUND = (2, 8, 1, 4)
KEYS = ("0", "1", "2", "3")
COSTS = {key: sum(size) for key, size in zip(KEYS, SIZES, strict=True)}


def parts_of(updates):
    return [torch.linalg.svd(update, full_matrices=False) for update in updates]


def cut(parts, ranks):
    """Each update's closest matrix of its rank."""
    return [(u[:, :r] * s[:r]) @ vt[:r] for (u, s, vt), r in zip(parts, ranks, strict=True)]


def learned(steps=300):
    """ΔW of each layer after a short training of LoRA of rank 10."""
    student = Layers()
    targets = teacher(student)
    generator = torch.Generator().manual_seed(1)
    factors = [(torch.zeros(o, 10), torch.randn(10, i, generator=generator) / i**0.5) for o, i in SIZES]
    trained = [tensor.requires_grad_() for pair in factors for tensor in pair]
    optimizer = torch.optim.Adam(trained, 2e-2)
    start = [weight.detach() for weight in student.weights()]
    for _ in range(steps):
        now = [weight + (b @ a).T for weight, (b, a) in zip(start, factors, strict=True)]
        loss = sum((w - t).square().sum() for w, t in zip(now, targets, strict=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [(b @ a).detach().T for b, a in factors]


@pytest.mark.parametrize(
    ("strategy", "count", "most_off"), [("tpe", 40, 0), ("evolution", 100, 0), ("reinforce", 40, 1)]
)
def test_a_search_under_the_planted_budget_finds_the_ranks_and_beats_uniform_lora(strategy, count, most_off):
    """So many of 10,000 ranks, scored by the least error that LoRA of those ranks can have (Eckart and Young). The
    policy moves by two ranks at a time, and ends beside the truth with 160 trials as well."""
    space = Space(COSTS, tuple(range(1, 11)), parameters(FOUND))
    spec = read_search({"strategy": strategy, "ranks": list(space.ranks), "parameters": space.budget, "trials": count})
    true, trials = parts_of(truth(Layers())), []
    while len(trials) < spec.trials:
        ranks, steps = next_trial(spec, space, trials)
        least = error(cut(true, [ranks[key] for key in KEYS]))
        trials.append(Trial(str(len(trials)), ranks, steps, "done", 1 - least))
    best = best_of(trials)
    ranks, wrong = tuple(best.ranks[key] for key in KEYS), 1 - best.score
    rank, uniform = best_of_uniform_lora(ranks)
    print(f"{strategy:9} relative error {wrong:.4f}  ranks {ranks}  uniform LoRA of rank {rank} at best {uniform:.4f}")
    assert max(abs(r - true_rank) for r, true_rank in zip(ranks, FOUND, strict=True)) <= most_off
    assert wrong < 0.75 * uniform


def test_a_budget_over_what_lora_learned_is_the_planted_ranks():
    updates = learned()
    gains = {key: torch.linalg.svdvals(each).square().tolist() for key, each in zip(KEYS, updates, strict=True)}
    for share_out in (greedy, exact):
        ranks = tuple(share_out(gains, COSTS, parameters(FOUND))[key] for key in KEYS)
        wrong, (rank, uniform) = error(cut(parts_of(updates), ranks)), best_of_uniform_lora(ranks)
        print(f"{share_out.__name__} relative error {wrong:.4f}  ranks {ranks}  "
              f"uniform LoRA of rank {rank} at best {uniform:.4f}")  # fmt: skip
        assert ranks == FOUND and wrong < 0.1 * uniform
    assert captured(gains, dict(zip(KEYS, FOUND, strict=True))) > 0.99 * sum(map(sum, gains.values()))


def test_the_first_gradients_spectrum_recommends_the_planted_ranks():
    """Of white inputs it is a multiple of the missing update, and zero where nothing is missing."""
    student = Layers()
    loss_of(student, teacher(student)).backward()
    spectra = [torch.linalg.svdvals(block["linear"].weight.grad.double()) for block in student.blocks]
    assert tuple(energy_rank(spectrum, 0.99, 2) for spectrum in spectra) == FOUND
    assert spectra[2].abs().max() == 0
