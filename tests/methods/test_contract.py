"""What every method promises on every architecture family, each part once."""

import pytest
import torch

from methods.build import build
from methods.errors import MethodError
from methods.method import Layout
from methods.training import Training
from methods.why_not import why_not_train
from tests.methods.conftest import CONF
from tests.methods.conftest import spec as card

FAMILIES = ("bert", "roberta", "deberta", "vit", "gpt2", "llama")
NAMES = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))  # every card: none escapes
SHORT = {"grow": {"every": 3, "max_rank": 8, "add": 2}}
SPECS = {name: card(name, **SHORT.get(name, {})) for name in NAMES}
LIBRARY = {
    name for name, of_card in SPECS.items() if of_card.update.kind == "peft"
}  # tests/methods/test_peft_library.py
BESIDE = {"bitfit", "adapter_serial", "adapter_parallel"}  # no update of weights: tests/methods/test_beside.py
ADAPTERS = tuple(name for name in SPECS if name not in {*LIBRARY, *BESIDE, "full", "head"})
METHODS = (*ADAPTERS, "full", "head")
TRAINED = tuple(name for name in ADAPTERS if why_not_train(SPECS[name], Training(10, 2, 1e-2)) is None)


def one_of_each(names):
    """A name for each pair of an update and a schedule; plain ones before their variants."""
    plain = ("lora", "cola", "c3la", "cpaca", "ba_sparse_lora")
    pairs = {(SPECS[name].update.kind, SPECS[name].schedule.kind): name for name in reversed((*plain, *names))}
    return tuple(dict.fromkeys((*plain, *pairs.values())))


PARTS = one_of_each(TRAINED)


def attached(lab, tiny, name, seed=0):
    """As a run does it: one that starts from a run starts, here from a source that was not trained."""
    method = lab.attach(tiny, SPECS[name], seed=seed)
    if SPECS[name].schedule.of_source or SPECS[name].update.beside_source:
        method.start({path: tensor.clone() for path, tensor in method.tensors().items()})
    return method


def test_every_card_is_held_to_the_contract_or_is_of_the_peft_library_or_trains_nothing():
    assert set(SPECS) == LIBRARY | BESIDE | set(METHODS) and set(ADAPTERS) - set(TRAINED) == {"squeeze_post"}
    assert {(s.update.kind, s.schedule.kind) for s in map(SPECS.get, TRAINED)} == {
        (SPECS[name].update.kind, SPECS[name].schedule.kind) for name in PARTS
    }


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", (*ADAPTERS, "full"))
def test_the_output_is_unchanged_at_attach(lab, family, name):
    tiny = lab.tiny(family)
    with torch.no_grad():
        before = tiny.logits()
        attached(lab, tiny, name)
        assert torch.equal(tiny.logits(), before)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", PARTS)
def test_merge_leaves_the_function_and_only_plain_modules(lab, family, name):
    tiny = lab.tiny(family)
    kinds = [type(module) for module in tiny.model.modules()]
    start = tiny.logits().detach()
    method = attached(lab, tiny, name)
    lab.train(tiny, method, 5)
    with torch.no_grad():
        trained = tiny.model.eval()(**tiny.inputs).logits
        method.merge()
        merged = tiny.logits()
    assert (trained - start).abs().max() > 1e-2
    assert (merged - trained).abs().max() < 1e-5 * trained.abs().max()
    assert [type(module) for module in tiny.model.modules()] == kinds


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", PARTS)
def test_everything_frozen_stays_bit_identical(lab, family, name):
    tiny = lab.tiny(family)
    before = {n: p.clone() for n, p in tiny.model.named_parameters()}
    method = attached(lab, tiny, name)
    sites = {site.module_path for site in method.sites}
    lab.train(tiny, method, 5)
    method.merge()
    moved = {n for n, p in tiny.model.named_parameters() if not torch.equal(p, before[n])}
    head = {n for n in before if n.startswith(tiny.layout.head or ("no head",))}
    assert moved == {f"{site}.weight" for site in sites} | head


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", TRAINED)
def test_every_trained_tensor_gets_a_gradient(lab, family, name):
    tiny = lab.tiny(family)
    method = attached(lab, tiny, name)
    lab.train(tiny, method, 8 if name == "dylora" else 1, total=10)  # once both factors are off zero
    tiny.loss().backward()
    for group in method.groups(1.0, 1.0, 0.0):
        for parameter in group["params"]:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, group["name"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", (*PARTS, "full", "head"))
def test_a_fresh_model_restored_in_mid_chain_goes_on_bit_for_bit(lab, family, name):
    if (family, name) == ("gpt2", "head"):
        return  # a tied head: the test below
    first, second = lab.tiny(family), lab.tiny(family)
    method = attached(lab, first, name)
    optimizer = lab.train(first, method, 5, total=8)
    kept, facts = {n: t.clone() for n, t in method.tensors().items()}, method.facts()
    moments = {k: {n: v.clone() for n, v in s.items()} for k, s in optimizer.state_dict()["state"].items()}
    lab.train(first, method, 8, first=5, optimizer=optimizer)

    resumed = attached(lab, second, name)
    resumed.restore(kept, facts)
    again = torch.optim.AdamW(resumed.groups(1e-2, 1e-2, 0.0))
    again.load_state_dict({"state": moments, "param_groups": again.state_dict()["param_groups"]})
    lab.train(second, resumed, 8, first=5, optimizer=again)
    assert torch.equal(first.logits(), second.logits())
    assert resumed.history() == method.history()


@pytest.mark.parametrize("name", (*PARTS, "full", "head"))
def test_going_back_to_an_earlier_state_is_bit_for_bit(lab, name):
    tiny = lab.tiny()
    method = attached(lab, tiny, name)
    optimizer = lab.train(tiny, method, 2, total=8)
    then = tiny.logits().detach()
    kept, facts = {n: t.clone() for n, t in method.tensors().items()}, method.facts()
    lab.train(tiny, method, 8, first=2, optimizer=optimizer)
    assert not torch.equal(tiny.logits(), then)
    method.restore(kept, facts)
    assert torch.equal(tiny.logits(), then)


@pytest.mark.parametrize("name", METHODS)
def test_the_whole_head_is_trained_and_nothing_else_beside_the_adapter(lab, name):
    tiny = lab.tiny("deberta")
    method = attached(lab, tiny, name)
    counts = method.counts()
    assert counts["head"] == 32 * 32 + 32 + 3 * 32 + 3
    free = sum(p.numel() for p in tiny.model.parameters() if p.requires_grad)
    grouped = sum(p.numel() for group in method.groups(1.0, 1.0, 0.0) for p in group["params"])
    assert free == grouped == counts["adapter"] + counts["head"]


def test_a_model_in_eval_mode_keeps_its_mode_when_a_method_is_put_in_and_taken_out(lab):
    tiny = lab.tiny()
    tiny.model.eval()
    method = lab.attach(tiny, lab.spec("lora"))
    assert not any(module.training for module in tiny.model.modules() if type(module).__name__ == "Adapted")
    method.merge()
    assert not any(module.training for module in tiny.model.modules())


def test_the_parts_of_a_fused_projection_are_the_rows_that_the_model_reads(lab):
    """GPT-2 cuts the output of c_attn into query, key and value, in this order."""
    tiny = lab.tiny("gpt2")
    method = lab.attach(tiny, lab.spec("lora", targets=["q", "k", "v"]))
    parts = [site for site in method.sites if site.module_path.endswith("h.0.attn.c_attn")]
    query, key, value = parts[0].module.weight.split(32, dim=1)
    for site, columns in zip(parts, (query, key, value), strict=True):
        assert torch.equal(site.weight, columns.t())


def test_rates_and_decay_follow_one_rule(lab):
    groups = {g["name"]: g for g in lab.attach(lab.tiny("roberta"), lab.spec("lora_plus")).groups(1e-3, 5e-4, 0.1)}
    assert {name: (g["lr"], g["weight_decay"]) for name, g in groups.items()} == {
        "adapter": (1e-3, 0.0),
        "adapter_b": (16e-3, 0.0),
        "head": (5e-4, 0.1),
        "head_no_decay": (5e-4, 0.0),
    }
    groups = {g["name"]: g for g in lab.attach(lab.tiny("roberta"), lab.spec("full")).groups(1e-5, 5e-4, 0.1)}
    assert set(groups) == {"base", "base_no_decay", "head", "head_no_decay"}
    assert all(p.dim() == 1 for p in groups["base_no_decay"]["params"] + groups["head_no_decay"]["params"])


def test_a_target_the_model_does_not_know_is_an_error(lab):
    with pytest.raises(MethodError, match=r"target 'gate' is unknown for this model; known: q, k, v"):
        lab.attach(lab.tiny("bert"), lab.spec("lora", targets=["gate"]))


def test_a_target_that_names_no_module_is_an_error(lab):
    tiny = lab.tiny("bert")
    tiny.layout.targets["q"] = "attention.query"
    try:
        with pytest.raises(MethodError, match="is no module of BertForSequenceClassification"):
            lab.attach(tiny, lab.spec("lora"))
    finally:
        tiny.layout.targets["q"] = "attention.self.query"


def test_a_target_missing_in_one_block_is_an_error(lab):
    tiny = lab.tiny("bert")
    tiny.model.bert.encoder.layer[1].attention.self.value = None
    with pytest.raises(MethodError, match="has 2 blocks, but its targets were found"):
        lab.attach(tiny, lab.spec("lora"))


def test_a_head_that_is_not_there_is_an_error(lab):
    tiny = lab.tiny("bert")
    tiny.layout = type(tiny.layout)(tiny.layout.targets, ("lm_head",))
    with pytest.raises(MethodError, match="head lm_head"):
        lab.attach(tiny, lab.spec("head"))


def test_training_only_a_tied_head_is_an_error(lab):
    with pytest.raises(MethodError, match="has no head of its own"):
        lab.attach(lab.tiny("gpt2"), lab.spec("head"))


def test_full_fine_tuning_goes_back_to_the_buffers_of_an_earlier_state_too(lab):
    """Running means are no parameters, and yet part of what was evaluated."""
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
    model.head = torch.nn.Linear(4, 2)
    method = build(lab.spec("full"), Layout({}, ("head",)))
    method.attach(model, lab.draw())
    kept = {name: tensor.clone() for name, tensor in method.tensors().items()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model[1](torch.randn(8, 4) + 3)
    assert not torch.equal(model[1].running_mean, buffers["1.running_mean"])
    method.restore(kept, method.facts())
    assert buffers and all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())
