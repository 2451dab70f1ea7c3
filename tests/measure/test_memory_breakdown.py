"""The ledger against hand counts, and that taking it leaves a training bit for bit as it was."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from harness.measure.memory_breakdown import measure_ledger, optimizer_bytes, storage_bytes

BATCH, IN, HIDDEN, OUT = 8, 6, 10, 3


def _mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(IN, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, OUT))


def _step(model: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    def forward_backward() -> Tensor:
        loss = model(x).sum()
        loss.backward()
        return loss

    return forward_backward


def _ledger(model: nn.Module, x: Tensor, name: str = "base") -> dict[str, float]:
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW([{"name": name, "params": params}])
    return {role: found.value for role, found in measure_ledger(model, _step(model, x), optimizer).items()}


def test_every_role_of_a_fully_trained_mlp_equals_a_hand_count() -> None:
    weights = 4 * (IN * HIDDEN + HIDDEN + HIDDEN * OUT + OUT)
    assert _ledger(_mlp(), torch.randn(BATCH, IN)) == {
        "weights": weights,
        "adapter": 0,
        "gradients": weights,
        "optimizer": 2 * weights + 4 * 4,  # two moments, and one float step count for each of four tensors
        "saved_for_backward": 4 * BATCH * (IN + HIDDEN),  # the input, and tanh's output, which the second layer shares
    }


def test_a_frozen_layer_saves_no_input_and_has_no_gradient() -> None:
    model = _mlp()
    model[0].requires_grad_(False)
    found = _ledger(model, torch.randn(BATCH, IN))
    assert found["saved_for_backward"] == 4 * BATCH * HIDDEN  # the second layer's input; nothing flows into the first
    assert found["gradients"] == 4 * (HIDDEN * OUT + OUT)
    assert found["weights"] == 4 * (IN * HIDDEN + HIDDEN + HIDDEN * OUT + OUT)


def test_trained_tensors_of_an_adapter_group_are_not_among_the_weights() -> None:
    model = _mlp()
    model[0].requires_grad_(False)
    found = _ledger(model, torch.randn(BATCH, IN), name="adapter_b")
    assert found["adapter"] == 4 * (HIDDEN * OUT + OUT)
    assert found["weights"] == 4 * (IN * HIDDEN + HIDDEN)


def test_tied_weights_and_views_count_once() -> None:
    layer, other = nn.Linear(IN, IN), nn.Linear(IN, IN)
    other.weight = layer.weight
    assert storage_bytes([layer.weight, other.weight, layer.weight[:2], layer.weight.t()]) == 4 * IN * IN


def test_a_sparse_tensor_is_its_indices_and_its_values() -> None:
    indices, values = torch.tensor([[0, 1, 3], [2, 0, 1]]), torch.ones(3, requires_grad=True)
    sparse = torch.sparse_coo_tensor(indices, values.detach(), (IN, IN), check_invariants=False)
    held = 2 * 3 * 8 + 3 * 4
    assert storage_bytes([sparse, sparse]) == held

    def forward_backward() -> Tensor:
        moved = torch.sparse_coo_tensor(indices, values, (IN, IN), check_invariants=False)
        loss = torch.sparse.mm(moved, torch.ones(IN, 1, requires_grad=True)).sum()
        loss.backward()
        return loss

    found = measure_ledger(nn.Module(), forward_backward, torch.optim.SGD([values]))
    assert found["saved_for_backward"].value >= 2 * 3 * 8


def test_accumulation_counts_the_micro_batch_that_lives_not_the_sum() -> None:
    model, x = _mlp(), torch.randn(BATCH, IN)
    optimizer = torch.optim.AdamW(model.parameters())

    def two_micro_batches() -> Tensor:
        _step(model, x)()
        return _step(model, x)()

    found = measure_ledger(model, two_micro_batches, optimizer)
    assert found["saved_for_backward"].value == 4 * BATCH * (IN + HIDDEN)


def test_checkpointed_blocks_save_their_inputs_alone() -> None:
    class Blocks(nn.Module):
        def __init__(self, kept: bool) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(IN, IN), nn.Tanh(), nn.Tanh()) for _ in range(4))
            self.kept = kept

        def forward(self, x: Tensor) -> Tensor:
            for block in self.blocks:
                x = block(x) if self.kept else checkpoint(block, x, use_reentrant=False)
            return x

    x, one = torch.randn(BATCH, IN), 4 * BATCH * IN
    assert _ledger(Blocks(kept=True), x)["saved_for_backward"] == (1 + 4 * 2) * one
    assert _ledger(Blocks(kept=False), x)["saved_for_backward"] == 4 * one


def test_the_state_of_an_optimizer_is_exact_before_its_first_step() -> None:
    for build in (
        lambda p: torch.optim.AdamW(p, fused=True),
        lambda p: torch.optim.AdamW(p, foreach=True, amsgrad=True),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    ):
        model = _mlp()
        optimizer = build(model.parameters())
        before = optimizer_bytes(optimizer)
        _step(model, torch.randn(BATCH, IN))()
        optimizer.step()
        assert before == storage_bytes(v for slots in optimizer.state.values() for v in slots.values())
        assert before == optimizer_bytes(optimizer) > 0


def test_the_meta_device_gives_the_same_ledger() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(IN, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, OUT))
        x = torch.randn(BATCH, IN)
    assert _ledger(model, x) == _ledger(_mlp(), torch.randn(BATCH, IN))


def _train(ledger_at: int | None) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(IN, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.Dropout(0.5), nn.Linear(HIDDEN, OUT))
    optimizer = torch.optim.AdamW([{"name": "base", "params": list(model.parameters())}], lr=0.1)
    x = torch.randn(BATCH, IN)
    for step in range(4):
        _step(model, x)()  # gradients of a first micro-batch are there when the ledger is taken
        if step == ledger_at:
            held = [p.grad for p in model.parameters()]
            measure_ledger(model, _step(model, x), optimizer)
            assert all(p.grad is g for p, g in zip(model.parameters(), held, strict=True))
        optimizer.step()
        optimizer.zero_grad()
    return model, torch.rand(3)


@pytest.mark.parametrize("at", [0, 2])
def test_taking_the_ledger_leaves_the_training_bit_for_bit_as_it_was(at: int) -> None:
    (plain, drawn), (measured, drawn_after) = _train(None), _train(at)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, measured.state_dict()[name]), name
    assert torch.equal(drawn, drawn_after)


def test_a_failing_step_leaves_the_training_as_it_was_too() -> None:
    model = _mlp()
    _step(model, torch.randn(BATCH, IN))()
    before, gradients = copy.deepcopy(model.state_dict()), [p.grad for p in model.parameters()]

    def fail() -> Tensor:
        model(torch.randn(BATCH, IN)).sum().backward()
        raise torch.OutOfMemoryError("planted")

    state = torch.get_rng_state()
    with pytest.raises(torch.OutOfMemoryError):
        measure_ledger(model, fail, torch.optim.AdamW(model.parameters()))
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
