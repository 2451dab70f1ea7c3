"""Identities I12 to I22 of the study (reference: study, §1.6), each a test named after it."""

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from methods.errors import MethodError
from methods.method import Layout
from methods.update.ba_sparse import top_share

CHAINS = ("cola", "rac", "c3la", "r_c3la", "cpaca", "dcpaca", "rac_b")


def test_i12_the_learning_rate_goes_on_across_links(lab):
    traces = {}
    for name in ("lora", "cola", "c3la", "rac"):
        tiny = lab.tiny()
        method = lab.attach(tiny, lab.spec(name, **({} if name == "lora" else {"links": 3})))
        optimizer = torch.optim.AdamW(method.groups(1e-2, 1e-2, 0.0))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: min(t + 1, 3) / 3 * (1 - t / 12))
        traces[name] = []

        def note(step, name=name, optimizer=optimizer, schedule=schedule):
            traces[name].append(optimizer.param_groups[0]["lr"])
            schedule.step()

        lab.train(tiny, method, 9, optimizer=optimizer, watch=note)
        assert len(method.history()) == (0 if name == "lora" else 2)
    assert len(set(traces["lora"])) > 5
    assert all(trace == traces["lora"] for trace in traces.values())


@pytest.mark.parametrize(
    "name", ["lora", "asym", "asym_b", "cola", "rac", "rac_b", "cla", "c3la", "paca", "ba_sparse_lora"]
)
def test_i13_what_is_frozen_stays_bitwise_inside_a_link(lab, name):
    tiny = lab.tiny()
    method = lab.attach(tiny, lab.spec(name, **({"links": 2} if name in CHAINS else {})))
    start = lab.weights(tiny, method)
    buffers = {n: b.clone() for n, b in tiny.model.named_buffers() if n.endswith((".a", ".b"))}
    lab.train(tiny, method, 4, total=10)
    for site in method.sites:
        index = getattr(method.updates[site.path], "index", torch.zeros(0, dtype=torch.int64))
        others = torch.ones(site.in_features, dtype=torch.bool).index_fill(0, index, False)
        assert torch.equal(site.weight[:, others], start[site.path][:, others])
        assert not len(index) or not torch.equal(site.weight, start[site.path])
    assert len(buffers) == (4 if name in ("asym", "asym_b", "rac", "rac_b") else 0)
    for n, buffer in tiny.model.named_buffers():
        if n in buffers:
            assert torch.equal(buffer, buffers[n])


def test_i14_the_gather_path_is_the_dense_selector_path(lab):
    """Against W0·x + s·B·(A·x) with a dense selector A, output and gradients."""
    tiny = lab.tiny()
    method = lab.attach(tiny, lab.spec("r_cla"))
    start = lab.weights(tiny, method)
    lab.train(tiny, method, 3, total=10)
    path, update = next(iter(method.updates.items()))
    layer = tiny.model.get_submodule(path)
    x = torch.randn(5, 32, requires_grad=True)
    g = torch.randn(5, 32)
    layer(x).backward(g)

    dense_x, b = x.detach().clone().requires_grad_(), update.b.detach().clone().requires_grad_()
    a = torch.zeros(4, 32)
    a[torch.arange(4), update.index] = 1.0
    y = dense_x @ start[path].T + layer.bias + 2.0 * (dense_x @ a.T) @ b.T
    y.backward(g)
    assert (layer(x) - y).abs().max() < 1e-6 * y.abs().max()
    assert (x.grad - dense_x.grad).abs().max() < 1e-6 * x.grad.abs().max()
    assert (update.b.grad - b.grad).abs().max() < 1e-6 * b.grad.abs().max()


def test_i15_lora_plus_at_ratio_one_is_lora_and_its_ratio_is_exact(lab):
    one, two, three = lab.tiny(), lab.tiny(), lab.tiny()
    lab.train(one, lab.attach(one, lab.spec("lora_plus", b_over_a=1.0)), 5)
    lab.train(two, lab.attach(two, lab.spec("lora")), 5)
    assert torch.equal(one.logits(), two.logits())
    method = lab.attach(three, lab.spec("lora_plus"))
    groups = {group["name"]: group for group in method.groups(3e-4, 1e-3, 0.0)}
    assert groups["adapter_b"]["lr"] == 16 * groups["adapter"]["lr"]
    assert {id(p) for p in groups["adapter_b"]["params"]} == {id(update.b) for update in method.updates.values()}


@pytest.mark.parametrize("name", ["r_cla", "r_c3la", "paca", "cpaca"])
def test_i16_random_selectors_differ_between_modules_and_seeds_and_repeat(lab, name):
    drawn = []
    for seed in (0, 0, 1):
        method = lab.attach(lab.tiny(), lab.spec(name), seed=seed)
        drawn.append({path: tuple(update.index.tolist()) for path, update in method.updates.items()})
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    assert len(set(drawn[0].values())) > 1
    assert all(len(set(index)) == 4 for index in drawn[0].values())


@pytest.mark.parametrize("name", ["cla", "c3la"])
def test_i16_first_columns_do_not_depend_on_the_seed(lab, name):
    for seed in (0, 1):
        tiny = lab.tiny()
        method = lab.attach(tiny, lab.spec(name), seed=seed)
        assert all(update.index.tolist() == [0, 1, 2, 3] for update in method.updates.values())


@pytest.mark.parametrize("name", [*CHAINS, "ba_sparse_lora"])
def test_i17_saved_and_loaded_in_mid_chain_the_forward_is_bitwise_the_same(lab, name, tmp_path):
    one, two = lab.tiny(), lab.tiny()
    method = lab.attach(one, lab.spec(name))
    lab.train(one, method, 5, total=7)
    save_file({n: t.contiguous() for n, t in method.tensors().items()}, tmp_path / "state.safetensors")
    again = lab.attach(two, lab.spec(name), seed=9)  # whatever was drawn at attach is replaced
    again.restore(load_file(tmp_path / "state.safetensors"), method.facts())
    assert torch.equal(one.logits(), two.logits())


def test_i18_a_mask_that_keeps_all_is_lora(lab):
    one, two = lab.tiny(dtype=torch.float64), lab.tiny(dtype=torch.float64)
    lab.train(one, lab.attach(one, lab.spec("ba_sparse_lora", keep=1.0)), 5)
    lab.train(two, lab.attach(two, lab.spec("lora")), 5)
    assert (one.logits() - two.logits()).abs().max() < 1e-12


@pytest.mark.parametrize("name", ["ba_sparse_lora", "ba_sparse_final", "ba_sparse_fix_mask"])
def test_i18_the_evaluated_update_is_masked(lab, name):
    tiny = lab.tiny()
    method = lab.attach(tiny, lab.spec(name))
    start = lab.weights(tiny, method)
    lab.train(tiny, method, 4)
    evaluated = tiny.model.eval()(**tiny.inputs).logits
    method.merge()
    assert (tiny.logits() - evaluated).abs().max() < 1e-5
    for site in method.sites:
        density = (site.weight != start[site.path]).float().mean().item()
        assert 0.1 < density < 0.5  # about keep² = 0.25, never above keep


def test_i18_the_mask_keeps_the_top_of_row_and_column(lab):
    matrix = torch.randn(24, 40, generator=torch.Generator().manual_seed(0))
    mask = top_share(matrix, 0.3)
    for i in range(24):
        for j in range(40):
            in_row = (matrix[i].abs() > matrix[i, j].abs()).sum() < 12
            in_column = (matrix[:, j].abs() > matrix[i, j].abs()).sum() < 8
            assert mask[i, j] == (in_row and in_column)
    assert top_share(torch.zeros(3, 5), 0.5).all()


def test_i18_the_final_variant_trains_as_lora(lab):
    one, two = lab.tiny(dtype=torch.float64), lab.tiny(dtype=torch.float64)
    lab.train(one, lab.attach(one, lab.spec("ba_sparse_final")), 5)
    lab.train(two, lab.attach(two, lab.spec("lora")), 5)
    assert (one.logits() - two.logits()).abs().max() < 1e-12
    assert (one.model.eval()(**one.inputs).logits - two.logits()).abs().max() > 1e-4


def test_i19_at_full_width_a_cla_step_is_a_step_on_the_weight(lab):
    """r = in: one SGD step on W equals one cLA step at lr / s²."""
    one, two = lab.tiny(dtype=torch.float64), lab.tiny(dtype=torch.float64)
    cla = lab.attach(one, lab.spec("cla", rank=32, alpha=96.0))
    groups = [g | {"lr": 0.1 / 9 if g["name"] == "adapter" else 0.0} for g in cla.groups(1.0, 1.0, 0.0)]
    lab.train(one, cla, 1, total=9, optimizer=torch.optim.SGD(groups))
    two.loss().backward()
    for site in cla.sites:
        weight = two.model.get_submodule(site.module_path).weight
        assert (weight - 0.1 * weight.grad - site.weight).abs().max() < 1e-12


SHAPES = {  # study, §2.2 at rank 16 on q and v: config, targets, A + B, B only, A only
    "roberta-base": ("roberta", {}, 589_824, 294_912, 294_912),
    "gpt2": ("gpt2", {"n_embd": 768, "n_layer": 12, "n_head": 12, "n_inner": None}, 589_824, 294_912, 294_912),
    "tinyllama": ("llama", {"hidden_size": 2048, "num_hidden_layers": 22, "num_attention_heads": 32,
                            "num_key_value_heads": 4, "intermediate_size": 5632}, 2_252_800, 811_008, 1_441_792),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_i20_trainable_counts_are_those_of_the_study(lab, shape):
    family, sizes, both, b_only, a_only = SHAPES[shape]
    layout = lab.tiny(family).layout
    head = layout.head
    config = {"roberta": transformers.RobertaConfig, "gpt2": transformers.GPT2Config, "llama": transformers.LlamaConfig}
    kind = {"roberta": transformers.RobertaForSequenceClassification, "gpt2": transformers.GPT2LMHeadModel,
            "llama": transformers.LlamaForSequenceClassification}  # fmt: skip
    names = dict.fromkeys(("lora", "lora_plus", "cola"), both) | dict.fromkeys(("asym_b", "rac_b"), a_only)
    names |= dict.fromkeys(("asym", "rac", "cla", "r_cla", "c3la", "r_c3la", "paca"), b_only)
    for name, expected in names.items():
        with torch.device("meta"):
            tiny = type(lab.tiny())(kind[family](config[family](**sizes)), Layout(layout.targets, head), {})
        method = lab.attach(tiny, lab.spec(name, rank=16, alpha=32.0))
        assert method.counts()["adapter"] == expected, name


@pytest.mark.parametrize(
    "name", ["full", "head", "lora", "cola", "cla", "r_c3la", "paca", "ba_sparse_lora", "peft", "vera"]
)
def test_i21_a_method_shifts_neither_the_head_nor_the_global_stream(lab, name):
    tiny = lab.tiny()
    head = tiny.model.classifier.weight.detach().clone()
    before = torch.get_rng_state()
    method = lab.attach(tiny, lab.spec(name))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(tiny.model.classifier.weight, head)
    lab.train(tiny, method, 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_i22_a_chain_that_never_merges_is_an_error(lab):
    for changes in ({"links": 5}, {"links": None, "every_epochs": 3.0}, {"links": None, "every_steps": 4}):
        tiny = lab.tiny()
        method = lab.attach(tiny, lab.spec("cola", **changes))
        with pytest.raises(MethodError, match="chain"):
            lab.train(tiny, method, 4)


def test_i22_a_chain_whose_steps_were_skipped_is_an_error(lab):
    tiny = lab.tiny()
    method = lab.attach(tiny, lab.spec("cola", links=2))
    with pytest.raises(MethodError, match="0 of 1 links were merged"):
        lab.train(tiny, method, 8, first=6)


def test_i22_a_mask_that_was_never_taken_is_an_error(lab):
    tiny = lab.tiny()
    method = lab.attach(tiny, lab.spec("ba_sparse_lora", every=9))
    with pytest.raises(MethodError, match="no mask is taken within 4 steps"):
        lab.train(tiny, method, 4)
