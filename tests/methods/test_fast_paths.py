"""The fast paths against plain dense expressions: values, gradients, and what they keep for backward."""

import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers.pytorch_utils import Conv1D

from methods.update.columns_linear import columns_linear
from methods.update.low_rank_linear import low_rank_linear

OUT, IN, RANK = 9, 7, 3


def layer(transposed: bool, dtype=torch.float64):
    """(module, its weight as (out, in)) with a frozen random weight."""
    torch.manual_seed(0)
    module = (Conv1D(OUT, IN) if transposed else nn.Linear(IN, OUT)).to(dtype)
    module.requires_grad_(False)
    nn.init.normal_(module.weight)
    nn.init.normal_(module.bias)
    return module, (module.weight.T if transposed else module.weight)


def factors(spans, dtype=torch.float64, train_a=True, train_b=True):
    pairs = []
    for low, high in spans:
        pairs += [torch.randn(RANK, IN, dtype=dtype).requires_grad_(train_a),
                  torch.randn(high - low, RANK, dtype=dtype).requires_grad_(train_b)]  # fmt: skip
    return pairs


def dense(x, weight, bias, scale, spans, pairs):
    """x·(W + ΔW)ᵀ + b with ΔW materialised."""
    delta = torch.zeros(OUT, IN, dtype=x.dtype)
    for (low, high), a, b in zip(spans, pairs[::2], pairs[1::2], strict=True):
        delta = delta + F.pad(scale * b @ a, (0, 0, low, OUT - high))
    return F.linear(x, weight + delta, bias)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("spans", [((0, OUT),), ((0, 3), (6, 9))])
@pytest.mark.parametrize("train_a, train_b", [(True, True), (False, True), (True, False)])
@pytest.mark.parametrize("wants_x", [True, False])
def test_low_rank_gradients_are_those_of_the_dense_product(transposed, spans, train_a, train_b, wants_x):
    module, weight = layer(transposed)
    pairs = factors(spans, train_a=train_a, train_b=train_b)
    x = torch.randn(2, 5, IN, dtype=torch.float64, requires_grad=wants_x)

    def run(x, *pairs):
        return low_rank_linear(x, module.weight, module.bias, transposed, 1.7, spans, pairs)

    assert torch.allclose(run(x, *pairs), dense(x, weight, module.bias, 1.7, spans, pairs), atol=1e-12)
    assert torch.autograd.gradcheck(run, (x, *pairs))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("spans", [((0, OUT),), ((0, 3), (6, 9))])
@pytest.mark.parametrize("wants_x", [True, False])
def test_column_gradients_are_those_of_the_dense_product(transposed, spans, wants_x):
    """W holds W0 + s·B·A with A a selector; the dense expression has B in it and must give the same gradients."""
    module, weight = layer(transposed)
    indices = [torch.tensor([1, 4, 6]), torch.tensor([0, 2, 3])][: len(spans)]
    bs = [torch.randn(high - low, RANK, dtype=torch.float64, requires_grad=True) for low, high in spans]
    selectors = [torch.eye(IN, dtype=torch.float64)[index] for index in indices]
    x = torch.randn(2, 5, IN, dtype=torch.float64, requires_grad=wants_x)
    pairs = [t for pair in zip(selectors, bs, strict=True) for t in pair]
    expected = dense(x, weight.clone(), module.bias, 1.7, spans, pairs)
    g = torch.randn_like(expected)
    wanted = [*([x] if wants_x else []), *bs]
    reference = torch.autograd.grad(expected, wanted, g)
    with torch.no_grad():
        for (low, high), index, b in zip(spans, indices, bs, strict=True):
            weight[low:high, index] += 1.7 * b
    columns = [t for pair in zip(indices, bs, strict=True) for t in pair]
    y = columns_linear(x, module.weight, module.bias, transposed, 1.7, spans, columns)
    assert torch.allclose(y, expected, atol=1e-12)
    for ours, theirs in zip(torch.autograd.grad(y, wanted, g), reference, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-12)


def saved(function, *parameters):
    """Bytes that a forward keeps for its backward, parameters left out."""
    known = {p.untyped_storage().data_ptr() for p in parameters}
    found, alive = {}, []

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            found[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        alive.append(function())
    return sum(found.values())


def test_columns_and_frozen_a_keep_rank_numbers_a_token_and_lora_adds_only_its_input():
    module, _ = layer(False, torch.float32)
    x = torch.randn(64, IN, requires_grad=True)
    frozen, spans = (module.weight, module.bias, False, 2.0, ((0, OUT),)), ((0, OUT),)
    index, b = torch.arange(RANK), torch.randn(OUT, RANK, requires_grad=True)
    narrow = 64 * RANK * 4
    assert saved(lambda: columns_linear(x, *frozen, [index, b]), module.weight, b, index) == narrow
    for train_a, train_b, expected in (
        (False, True, narrow),
        (True, False, 64 * IN * 4),
        (True, True, narrow + 64 * IN * 4),
    ):
        pair = factors(spans, torch.float32, train_a, train_b)
        assert saved(lambda pair=pair: low_rank_linear(x, *frozen, pair), module.weight, *pair) == expected


def test_neighbours_with_one_input_and_one_selection_keep_one_copy_of_it():
    first, second = layer(False, torch.float32)[0], layer(False, torch.float32)[0]
    x, index = torch.randn(64, IN, requires_grad=True), torch.arange(RANK)
    bs = [torch.randn(OUT, RANK, requires_grad=True) for _ in range(2)]

    def both(second_x, second_index):
        one = columns_linear(x, first.weight, first.bias, False, 2.0, ((0, OUT),), [index, bs[0]])
        return one, columns_linear(second_x, second.weight, second.bias, False, 2.0, ((0, OUT),), [second_index, bs[1]])

    def kept(second_x, second_index):
        return saved(lambda: both(second_x, second_index), first.weight, second.weight, *bs, index)

    narrow = 64 * RANK * 4
    assert kept(x, index) == narrow
    assert kept(x.clone(), index) == 2 * narrow
    assert kept(x, torch.tensor([0, 2, 4])) == 2 * narrow


@pytest.mark.parametrize("name", ["lora", "asym", "cla", "c3la", "paca", "ba_sparse_final"])
def test_without_gradients_the_outputs_are_the_same_and_inference_mode_is_allowed(lab, name):
    tiny = lab.tiny()
    method = lab.attach(tiny, lab.spec(name))
    lab.train(tiny, method, 4, total=9)
    tiny.model.eval()
    expected = tiny.logits().detach()
    with torch.no_grad():
        assert torch.equal(tiny.logits(), expected)
    with torch.inference_mode():
        assert torch.equal(tiny.logits(), expected)


def test_an_input_changed_in_place_is_gathered_anew():
    module, index = layer(False, torch.float32)[0], torch.arange(RANK)
    b = torch.randn(OUT, RANK, requires_grad=True)
    x = torch.randn(4, IN)
    gradients = []
    outputs = []
    for _ in range(2):
        outputs.append(columns_linear(x, module.weight, module.bias, False, 2.0, ((0, OUT),), [index, b]))
        x.mul_(3.0)
    for y in outputs:
        gradients.append(torch.autograd.grad(y.sum(), b)[0])
    assert torch.allclose(gradients[1], 3.0 * gradients[0])


def test_under_autocast_a_fast_layer_returns_the_autocast_dtype():
    module, _ = layer(False, torch.float32)
    pair = factors(((0, OUT),), torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        y = low_rank_linear(torch.randn(4, IN), module.weight, module.bias, False, 2.0, ((0, OUT),), pair)
        writable = module(torch.randn(4, IN))
    assert y.dtype == writable.dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["lora", "asym", "cla", "c3la", "cola"])
@pytest.mark.parametrize("family", ["roberta", "vit", "gpt2", "llama"])
def test_gradient_checkpointing_changes_nothing(lab, name, family):
    results = []
    for checkpointed in (False, True):
        tiny = lab.tiny(family)
        method = lab.attach(tiny, lab.spec(name))
        if checkpointed:
            tiny.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        lab.train(tiny, method, 4)
        results.append(tiny.logits())
    assert torch.equal(*results)


@pytest.mark.parametrize("name", ["lora", "asym", "cla"])
def test_accumulated_micro_batches_add_up(lab, name):
    tiny = lab.tiny(dtype=torch.float64)
    method = lab.attach(tiny, lab.spec(name))
    lab.train(tiny, method, 2, total=9)
    rows = {key: value.split(1) for key, value in tiny.inputs.items()}
    trained = [p for update in method.updates.values() for p in update.parameters()]
    tiny.logits().square().sum().backward()
    whole = [p.grad.clone() for p in trained]
    tiny.model.zero_grad()
    for n in range(3):
        tiny.model(**{key: parts[n] for key, parts in rows.items()}).logits.square().sum().backward()
    assert all(torch.allclose(p.grad, g, atol=1e-12) for p, g in zip(trained, whole, strict=True))


@pytest.mark.parametrize("name", ["lora", "asym", "cla"])
def test_compiled_graphs_hold_the_fast_paths_unbroken(lab, name):
    """aot_eager traces forward and backward as every compiler backend gets them; fullgraph refuses any break."""
    tiny = lab.tiny("bert")
    method = lab.attach(tiny, lab.spec(name))
    lab.train(tiny, method, 2, total=9)
    block = tiny.model.bert.encoder.layer[0].attention.self.query
    x = torch.randn(4, 6, 32, requires_grad=True)
    torch._dynamo.reset()
    compiled = torch.compile(block, backend="aot_eager", fullgraph=True)
    gradients = []
    for run in (block, compiled):
        x.grad = None
        tiny.model.zero_grad()
        run(x).square().sum().backward()
        gradients.append([x.grad, *(p.grad for p in block.updates.parameters())])
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*gradients, strict=True))


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile's CPU backend needs g++")
def test_compiled_kernels_give_the_same_numbers(tmp_path, monkeypatch):
    from torch._inductor import config  # some seconds, for this test alone

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # another's may be of another CPU's vector width
    monkeypatch.setattr(config, "cpp_cache_precompile_headers", False)  # dearer than the two kernels that would use it
    monkeypatch.setattr(config.cpp, "vec_isa_ok", True)  # else new processes load torch to try what the CPU names
    module, _ = layer(False, torch.float32)
    index, b = torch.arange(RANK), torch.randn(OUT, RANK, requires_grad=True)
    x = torch.randn(4, IN, requires_grad=True)

    def run(x):
        return columns_linear(x, module.weight, module.bias, False, 2.0, ((0, OUT),), [index, b])

    torch._dynamo.reset()
    results = []
    for function in (run, torch.compile(run, fullgraph=True)):
        y = function(x)
        results.append([y, *torch.autograd.grad(y.square().sum(), (x, b))])
    assert all(torch.allclose(ours, theirs, atol=1e-5) for ours, theirs in zip(*results, strict=True))


def test_a_double_backward_is_refused_rather_than_wrong():
    module, _ = layer(False)
    pair = factors(((0, OUT),))
    y = low_rank_linear(
        torch.randn(4, IN, dtype=torch.float64), module.weight, module.bias, False, 2.0, ((0, OUT),), pair
    )
    (g,) = torch.autograd.grad(y.square().sum(), pair[1], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.sum().backward()
