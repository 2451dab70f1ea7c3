"""Weights that cannot be written column by column, quantised or sharded for real, take the dense path by themselves."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.utils._pytree import tree_map

from methods.errors import MethodError
from methods.export import peft_adapter

NAMES = ("lora", "asym", "cola", "cla", "r_cla", "c3la", "paca", "ba_sparse_lora")


class Int8(torch.Tensor):
    """A weight as int8 codes with a scale for each row, unpacked when it is multiplied: weight-only quantisation."""

    codes: torch.Tensor
    scales: torch.Tensor

    @staticmethod
    def __new__(cls, codes, scales):
        return torch.Tensor._make_wrapper_subclass(cls, codes.shape, dtype=scales.dtype, device=codes.device)

    def __init__(self, codes, scales):
        self.codes, self.scales = codes, scales

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.detach.default:
            return Int8(args[0].codes, args[0].scales)
        writable = tree_map(lambda t: t.unpacked() if isinstance(t, Int8) else t, (args, kwargs or {}))
        return func(*writable[0], **writable[1])

    def unpacked(self):
        return self.codes.to(self.scales.dtype) * self.scales


def quantised(weight):
    scales = weight.abs().amax(dim=1, keepdim=True) / 127
    return Int8((weight / scales).round().to(torch.int8), scales)


def both(lab):
    """One model with quantised projections, and one with the same weights unpacked; the packed linears."""
    packed, writable, linears = lab.tiny(), lab.tiny(), []
    for one, other in zip(packed.model.bert.encoder.layer, writable.model.bert.encoder.layer, strict=True):
        for name in ("query", "value"):
            linear = one.attention.self.get_submodule(name)
            linear.weight = nn.Parameter(quantised(linear.weight.detach()), requires_grad=False)
            other.attention.self.get_submodule(name).weight.data = linear.weight.unpacked()
            linears.append(linear)
    return packed, writable, linears


@pytest.mark.parametrize("name", NAMES)
def test_quantised_weights_train_as_their_unpacked_twins_and_are_not_written(lab, name):
    packed, writable, linears = both(lab)
    codes = [linear.weight.codes.clone() for linear in linears]
    assert torch.equal(packed.logits(), writable.logits())
    dense, fast = lab.attach(packed, lab.spec(name)), lab.attach(writable, lab.spec(name))
    lab.train(packed, dense, 6)
    lab.train(writable, fast, 6)
    assert (packed.logits() - writable.logits()).abs().max() < 1e-4
    assert all(torch.equal(linear.weight.codes, were) for linear, were in zip(linears, codes, strict=True))


@pytest.mark.parametrize("name", ["lora", "c3la"])
def test_quantised_weights_are_exported_and_never_merged(lab, name):
    packed, writable, _ = both(lab)
    dense, fast = lab.attach(packed, lab.spec(name)), lab.attach(writable, lab.spec(name))
    lab.train(packed, dense, 6)
    lab.train(writable, fast, 6)
    (config, ours), (same, theirs) = peft_adapter(dense), peft_adapter(fast)
    assert config == same
    for module in {key.rpartition(".lora_")[0] for key in ours if ".lora_" in key}:
        delta = [t[f"{module}.lora_B.weight"] @ t[f"{module}.lora_A.weight"] for t in (ours, theirs)]
        assert torch.allclose(*delta, atol=1e-4)
    with pytest.raises(MethodError, match="sharded or quantised: it cannot be written; export the adapter"):
        dense.merge()


@pytest.fixture
def one_process():
    """A process group of this process alone: enough for FSDP to shard, gather and free for real."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield dist.device_mesh.init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("looked_at", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_blocks_sharded_by_fsdp_train_as_whole_ones(lab, one_process, name, looked_at):
    sharded, whole = lab.tiny(), lab.tiny()
    for layer in sharded.model.bert.encoder.layer:
        fully_shard(layer, mesh=one_process)
    if looked_at:
        sharded.logits()  # until the backward pass FSDP shows whole weights: what is written to them is forgotten
    shown = sharded.model.bert.encoder.layer[0].attention.self.query.weight
    assert (type(shown) is nn.Parameter) == looked_at
    dense, fast = lab.attach(sharded, lab.spec(name)), lab.attach(whole, lab.spec(name))
    lab.train(sharded, dense, 6)
    lab.train(whole, fast, 6)
    assert (sharded.logits() - whole.logits()).abs().max() < 1e-4
    with pytest.raises(MethodError, match="cannot be written; export the adapter"):
        dense.merge()
