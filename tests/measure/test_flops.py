"""FLOPs against hand counts."""

import pytest
import torch
from torch import Tensor, nn

from harness.measure.flops import flop_counter, step_flops
from harness.measure.memory_breakdown import measure_ledger

B, T, I, O = 4, 5, 6, 3  # noqa: E741 (batch, tokens, in, out)


def test_a_trained_linear_layer_costs_three_products_and_a_frozen_one_two() -> None:
    product = 2 * B * T * I * O
    layer, x = nn.Linear(I, O), torch.randn(B, T, I)

    def step(needs_input_gradient: bool) -> float:
        inputs = x.clone().requires_grad_(needs_input_gradient)
        return step_flops(layer, lambda: layer(inputs).sum().backward()).value

    assert step(True) == 3 * product
    assert step(False) == 2 * product
    layer.requires_grad_(False)
    assert step(True) == 2 * product


def test_fused_attention_counts_as_its_definition() -> None:
    heads, tokens, width = 2, 16, 8
    q, k, v = (torch.randn(B, heads, tokens, width, requires_grad=True) for _ in range(3))
    product = 2 * B * heads * tokens * tokens * width

    def step() -> None:
        nn.functional.scaled_dot_product_attention(q, k, v).sum().backward()

    assert step_flops(nn.Identity(), step, (q, k, v)).value == (2 + 5) * product  # type: ignore[arg-type]


def test_products_inside_a_custom_autograd_function_are_counted() -> None:
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
            ctx.save_for_backward(weight)
            return x @ weight.t()

        @staticmethod
        def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
            return gradient @ ctx.saved_tensors[0], None

    x, weight = torch.randn(B * T, I, requires_grad=True), torch.randn(O, I)
    found = step_flops(nn.Identity(), lambda: Product.apply(x, weight).sum().backward(), (x,))  # type: ignore[arg-type]
    assert found.value == 2 * 2 * B * T * I * O


def test_products_that_add_in_place_are_counted() -> None:
    y, x, weight = torch.zeros(B * T, O), torch.randn(B * T, I), torch.randn(I, O)
    assert step_flops(nn.Identity(), lambda: y.addmm_(x, weight, alpha=0.5)).value == 2 * B * T * I * O
    batched, left, right = torch.zeros(B, T, O), torch.randn(B, T, I), torch.randn(B, I, O)
    assert step_flops(nn.Identity(), lambda: batched.baddbmm_(left, right)).value == 2 * B * T * I * O
    assert step_flops(nn.Identity(), lambda: x @ weight[:, 0]).value == 2 * B * T * I


def test_counting_leaves_gradients_and_generator_as_they_were() -> None:
    layer = nn.Linear(I, O)
    layer(torch.randn(B, I)).sum().backward()
    gradient, state = layer.weight.grad, torch.get_rng_state()
    step_flops(layer, lambda: nn.functional.dropout(layer(torch.randn(B, I))).sum().backward())
    assert layer.weight.grad is gradient
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_shapes_alone_give_the_count(device: str) -> None:
    with torch.device(device):
        layer, x = nn.Linear(I, O, bias=False), torch.randn(B, I)
    assert step_flops(layer, lambda: layer(x).sum().backward()).value == 2 * 2 * B * I * O


class Normed(nn.Module):
    """As `peft`'s DoRA: the output of a layer is used, and used again without its history."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(I, I), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.layer(torch.eye(I)).detach().norm()


def test_counting_adds_nothing_to_the_ledger_of_the_same_step() -> None:
    model, x = nn.Sequential(nn.Linear(I, I), Normed()), torch.randn(B, I)
    optimizer, counter = torch.optim.AdamW(model.parameters()), flop_counter()

    def step() -> Tensor:
        loss = model(x).sum()
        loss.backward()
        return loss

    def counted() -> Tensor:
        with counter:
            return step()

    assert measure_ledger(model, counted, optimizer) == measure_ledger(model, step, optimizer)
    assert counter.get_total_flops() == step_flops(model, step).value > 0
