"""oneDNN's matrix products: the same numbers, for everybody, only inside, and only where they are faster."""

import itertools
import warnings

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from harness.measure import cpu_matmul
from harness.measure.cpu_matmul import LEAST, ROWS, fast_matmul, matmul_kernels
from harness.probe import run as probe_run
from harness.probe.entrants import Entrant
from harness.probe.request import read_request
from harness.probe.result import Round

CPU = torch.device("cpu")
ON = pytest.mark.usefixtures("chosen")


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """On any CPU as on the one that gains."""
    monkeypatch.setattr(cpu_matmul, "matmul_kernels", lambda device: "oneDNN")


@pytest.fixture
def taken(chosen: None, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes (m, k, n) of the products that oneDNN did."""
    seen, real = [], cpu_matmul._onednn

    def spy(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
        seen.append((*a.shape, b.shape[1]))
        return real(a, b, bias)

    monkeypatch.setattr(cpu_matmul, "_onednn", spy)
    return seen


def _matrix(rows: int, columns: int, layout: str) -> Tensor:
    if layout == "row":
        return torch.randn(rows, columns)
    if layout == "column":
        return torch.randn(columns, rows).t()
    return torch.randn(rows + 3, columns + 5)[1 : rows + 1, 2 : columns + 2]  # a part of a larger one


SHAPES = [(512, 96, 128), (509, 96, 128), (768, 515, 8), (96, 1111, 70), (8, 512, 768)]
LAYOUTS = list(itertools.product(("row", "column", "part"), repeat=2))


@pytest.mark.parametrize("layouts", LAYOUTS, ids="-".join)
@pytest.mark.parametrize(
    "shape", [(512, 96, 128), (509, 96, 128), (768, 515, 8), (96, 1111, 70), (8, 512, 768)], ids=str
)
@pytest.mark.parametrize("shift", [False, True], ids=["mm", "addmm"])
def test_a_product_is_that_of_float64(
    taken: list[tuple[int, ...]], shape: tuple[int, int, int], layouts: tuple[str, str], shift: bool
) -> None:
    m, k, n = shape
    a, b, bias = _matrix(m, k, layouts[0]), _matrix(k, n, layouts[1]), torch.randn(n)
    with fast_matmul(CPU):
        found = torch.addmm(bias, a, b) if shift else a @ b
    exact = a.double() @ b.double() + (bias.double() if shift else 0)
    assert found.shape == (m, n) and found.dtype is torch.float32 and found.is_contiguous()
    assert (found - exact).abs().max() <= 1e-5 * k**0.5
    lines = k if layouts[0] == "column" else m
    assert bool(taken) == (lines >= ROWS)


@ON
@pytest.mark.parametrize("tokens", [(4, 128), (3, 171)], ids=str)
def test_a_layer_and_its_gradients_are_those_of_float64(tokens: tuple[int, int]) -> None:
    layer, x = nn.Linear(96, 160), torch.randn(*tokens, 96, requires_grad=True)
    with fast_matmul(CPU):
        F.gelu(layer(x)).square().sum().backward()
    exact, y = nn.Linear(96, 160).double(), x.detach().double().requires_grad_()
    exact.load_state_dict(layer.state_dict())
    F.gelu(exact(y)).square().sum().backward()
    for found, truth in ((x.grad, y.grad), (layer.weight.grad, exact.weight.grad), (layer.bias.grad, exact.bias.grad)):
        assert found is not None and truth is not None
        assert (found - truth).abs().max() <= 1e-5 * truth.abs().max()


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (torch.randn(512, 96).double(), torch.randn(96, 128).double()),
        (torch.randn(512, 96).bfloat16(), torch.randn(96, 128).bfloat16()),
        (torch.randint(9, (512, 96)), torch.randint(9, (96, 128))),
        (torch.randn(64, 64), torch.randn(64, LEAST // 64**2 - 1)),
        (torch.randn(ROWS - 1, 512), torch.randn(512, 512)),
        (torch.randn(0, 96), torch.randn(96, 128)),
    ],
    ids=["float64", "bfloat16", "integers", "small", "few rows", "empty"],
)
def test_what_is_not_for_onednn_stays_bit_for_bit(taken: list[tuple[int, ...]], a: Tensor, b: Tensor) -> None:
    bias = torch.ones(b.shape[1], dtype=b.dtype)
    before = (a @ b, torch.addmm(bias, a, b))
    with fast_matmul(CPU):
        after = (a @ b, torch.addmm(bias, a, b))
    assert not taken
    assert all(torch.equal(one, other) and one.dtype == other.dtype for one, other in zip(before, after, strict=True))


def test_scaled_and_matrix_shifts_stay_bit_for_bit(taken: list[tuple[int, ...]]) -> None:
    a, b, whole, row = torch.randn(512, 96), torch.randn(96, 128), torch.randn(512, 128), torch.randn(128)
    calls = [lambda: torch.addmm(whole, a, b), lambda: torch.addmm(row, a, b, beta=0.5, alpha=2)]
    before = [call() for call in calls]
    with fast_matmul(CPU):
        after = [call() for call in calls]
    assert not taken and all(torch.equal(*pair) for pair in zip(before, after, strict=True))


def test_pytorch_has_its_own_kernels_back_afterwards_also_after_an_error(taken: list[tuple[int, ...]]) -> None:
    a, b = torch.randn(512, 96), torch.randn(96, 128)
    before = a @ b
    for _ in range(2):  # and it can be entered again
        with pytest.raises(ZeroDivisionError), fast_matmul(CPU):
            torch.mm(a, b)
            raise ZeroDivisionError
    assert len(taken) == 2
    assert torch.equal(a @ b, before) and len(taken) == 2


@ON
def test_factors_that_do_not_fit_are_refused_in_pytorch_s_own_words() -> None:
    with fast_matmul(CPU):
        with pytest.raises(RuntimeError, match="cannot be multiplied"):
            torch.randn(512, 96) @ torch.randn(97, 128)
        with pytest.raises(RuntimeError, match="same dtype"):
            torch.randn(512, 96) @ torch.randn(96, 128).double()


@ON
def test_warnings_of_what_runs_inside_are_heard() -> None:
    with pytest.warns(UserWarning, match="planted"), fast_matmul(CPU):
        warnings.warn("planted", stacklevel=1)


@ON
def test_lengths_of_many_kinds_need_few_kernels(taken: list[tuple[int, ...]]) -> None:
    weight = torch.randn(96, 384)
    with fast_matmul(CPU):
        for tokens in range(64, 1025, 7):
            x = torch.randn(tokens, 96)
            (x @ weight).t() @ x
    assert len(set(taken)) <= 2 * 1024 // ROWS


@ON
def test_flops_are_counted_as_ever(taken: list[tuple[int, ...]]) -> None:
    layer, x = nn.Linear(96, 128), torch.randn(510, 96, requires_grad=True)
    with fast_matmul(CPU), FlopCounterMode(display=False) as counted:
        layer(x).sum().backward()
    assert taken and counted.get_total_flops() == 3 * 2 * 510 * 96 * 128


def test_the_peft_library_is_given_the_same_kernels(taken: list[tuple[int, ...]]) -> None:
    model = get_peft_model(nn.Sequential(nn.Linear(96, 128)), LoraConfig(target_modules=["0"], r=64))  # type: ignore[arg-type]
    with fast_matmul(CPU):
        model(torch.randn(512, 96)).sum().backward()
    assert (512, 96, 128) in taken and (512, 96, 64) in taken and (512, 64, 128) in taken


def test_every_entrant_of_a_probe_is_given_the_same_kernels(
    taken: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds, real = {}, probe_run._round

    def watched(entrant: Entrant, steps: int, device: torch.device) -> Round:
        taken.clear()
        found = real(entrant, steps, device)
        rounds[entrant.name] = taken.count((8 * 128, 64, 128))  # tokens, width, inner width
        return found

    monkeypatch.setattr(probe_run, "_round", watched)
    words = ["method=cla", "model=minilm", "model.size=tiny", "batch=8", "length=128", "targets=all"]
    probe_run.probe(read_request([*words, "steps=1", "rounds=1", "warmup=0"]))
    assert rounds == dict.fromkeys(("floor", "peft_lora", "peft_dora", "cla"), 2 * 2)  # layers, forward and backward


@pytest.mark.parametrize(
    ("amd", "capability", "device", "kernels"),
    [
        (True, "AVX512", "cpu", "oneDNN"),
        (False, "AVX512", "cpu", "PyTorch"),
        (True, "AVX2", "cpu", "PyTorch"),
        (True, "AVX512", "cuda", "PyTorch"),
    ],
)
def test_only_an_amd_cpu_with_avx512_changes_kernels(
    monkeypatch: pytest.MonkeyPatch, amd: bool, capability: str, device: str, kernels: str
) -> None:
    monkeypatch.setattr(cpu_matmul, "_made_by_amd", lambda: amd)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    assert matmul_kernels(torch.device(device)) == kernels


def test_where_nothing_is_gained_nothing_is_changed(
    taken: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_matmul, "matmul_kernels", lambda device: "PyTorch")
    with fast_matmul(CPU):
        torch.randn(512, 96) @ torch.randn(96, 128)
    assert not taken
