"""Methods of the peft library under our contract."""

import peft
import pytest
import torch

from methods.errors import MethodError
from methods.library_types import PROMPTS, REFUSED, TYPES

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
LIBRARY = ("peft", "dora", "rslora", "vera", "adalora", "oft", "ia3", "ln_tuning", "velora")


@pytest.mark.parametrize("family", ["bert", "roberta", "deberta", "vit", "llama"])
@pytest.mark.parametrize("name", LIBRARY)
def test_a_library_method_attaches_trains_and_merges(lab, family, name):
    tiny = lab.tiny(family)
    before = tiny.logits().detach()
    method = lab.attach(tiny, lab.spec(name))
    assert (tiny.logits() - before).abs().max() < 1e-5
    lab.train(tiny, method, 4)
    trained = tiny.model.eval()(**tiny.inputs).logits.detach()
    kinds = [type(module) for module in lab.tiny(family).model.modules()]
    method.merge()
    assert (tiny.logits() - trained).abs().max() < 1e-4
    assert (trained - before).abs().max() > 1e-2
    assert [type(module) for module in tiny.model.modules()] == kinds


@pytest.mark.parametrize(("name", "zero"), [("adalora", "lora_E"), ("velora", "lora_B"), ("peft", "lora_B")])
def test_every_parameter_has_a_gradient_at_step_0_and_what_starts_at_zero_moves(lab, name, zero):
    tiny = lab.tiny()
    method = lab.attach(tiny, lab.spec(name))
    tiny.loss().backward()
    trained = [p for group in method.groups(1.0, 1.0, 0.0) for p in group["params"]]
    assert trained and all(p.grad is not None and bool(p.grad.isfinite().all()) for p in trained)
    first = [p.grad for n, p in tiny.model.named_parameters() if zero in n]
    assert len(first) == 4 and all(gradient.abs().max() > 1e-9 for gradient in first), "two weights in two layers"


@pytest.mark.parametrize("name", LIBRARY)
def test_a_library_method_resumes_bit_for_bit(lab, name):
    one, two = lab.tiny(), lab.tiny()
    method = lab.attach(one, lab.spec(name))
    sgd = {"optimizer": torch.optim.SGD(method.groups(1e-2, 1e-2, 0.0))}
    lab.train(one, method, 4, total=8, **sgd)
    kept, facts = {n: t.clone() for n, t in method.tensors().items()}, method.facts()
    lab.train(one, method, 8, first=4, **sgd)
    again = lab.attach(two, lab.spec(name), seed=5)
    again.restore(kept, facts)
    lab.train(two, again, 8, first=4, optimizer=torch.optim.SGD(again.groups(1e-2, 1e-2, 0.0)))
    assert torch.equal(one.logits(), two.logits())


@pytest.mark.parametrize("name", LIBRARY)
def test_the_head_is_trained_and_counted_apart(lab, name):
    tiny = lab.tiny("roberta")
    method = lab.attach(tiny, lab.spec(name))
    free = sum(p.numel() for p in tiny.model.parameters() if p.requires_grad)
    assert method.counts()["head"] == 32 * 32 + 32 + 3 * 32 + 3
    assert free == sum(method.counts().values())
    lab.train(tiny, method, 2)
    assert not torch.equal(tiny.model.classifier.dense.weight, lab.tiny("roberta").model.classifier.dense.weight)


def test_two_seeds_draw_two_adapters_and_one_seed_one(lab):
    def drawn(seed):
        method = lab.attach(lab.tiny(), lab.spec("peft"), seed=seed)
        return torch.cat([t.flatten() for n, t in method.tensors().items() if "lora_A" in n])

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def test_gpt2s_fused_projection_is_adapted_as_a_whole(lab):
    tiny = lab.tiny("gpt2")
    method = lab.attach(tiny, lab.spec("peft", options={"r": 4, "lora_alpha": 8}))
    assert method.counts()["adapter"] == 2 * 4 * (32 + 96)


def test_adalora_reaches_its_target_rank(lab):
    tiny = lab.tiny()
    options = {"init_r": 6, "target_r": 2, "lora_alpha": 8, "tinit": 2, "tfinal": 2, "deltaT": 1}
    method = lab.attach(tiny, lab.spec("adalora", options=options))
    lab.train(tiny, method, 12)
    kept = sum((p != 0).sum().item() for n, p in tiny.model.named_parameters() if "lora_E" in n)
    assert kept == 2 * 4  # target_r in each of four matrices, on the whole


def test_adaloras_penalty_is_its_papers_and_so_is_its_gradient(lab):
    """orth_reg_weight · mean ‖PᵀP − I‖_F, against automatic differentiation in float64."""
    tiny = lab.tiny()
    method = lab.attach(tiny, lab.spec("adalora"))
    factors = {n: p for n, p in tiny.model.named_parameters() if "lora_A" in n or "lora_B" in n}
    (penalty := method.penalty()).backward()
    doubles = {n: p.detach().double().requires_grad_() for n, p in factors.items()}
    grams = [p @ p.T if "lora_A" in n else p.T @ p for n, p in doubles.items()]
    expected = 0.5 * torch.stack([(gram - torch.eye(len(gram))).norm() for gram in grams]).mean()
    expected.backward()
    assert penalty.item() == pytest.approx(expected.item(), rel=1e-6) and penalty.item() > 1
    for name, factor in factors.items():
        torch.testing.assert_close(factor.grad.double(), doubles[name].grad, rtol=1e-5, atol=1e-7)


def test_velora_computes_loras_output_and_keeps_less_of_it_for_backward(lab):
    """The same factors: equal outputs; A's input, 32 numbers a token, is kept as one number for each of 8 groups."""
    outputs, kept = [], []
    options = {"r": 4, "lora_alpha": 8}
    for more in ({}, {"velora_config": {"num_groups": 8, "scale": 1.0, "init_type": "random"}}):
        tiny = lab.tiny(dtype=torch.float64)
        lab.attach(tiny, lab.spec("velora", options=options | more))
        layer = next(m for n, m in tiny.model.named_modules() if n.endswith("lora_A.default")).weight
        sizes = []

        def keep(tensor, sizes=sizes):
            sizes.append(tuple(tensor.shape))
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            outputs.append(tiny.logits())
        assert layer.shape == (4, 32)
        kept.append(sizes.count((3 * 7, 8)))
    assert torch.allclose(*outputs, atol=1e-12)
    assert kept[0] == 0 and kept[1] == 4  # one compressed input for each of the four weights


SIZES = {"C3A": {"block_size": 16}, "FOURIERFT": {"n_frequency": 50}, "MISS": {"r": 4}, "PSOFT": {"r": 8},
         "ROAD": {"group_size": 16}, "SHIRA": {"r": 4}, "VBLORA": {"vector_length": 16, "num_vectors": 20},
         "WAVEFT": {"n_frequency": 50}}  # fmt: skip  # whose defaults are wider than a tiny model
UNMERGED = ("LILY",)


@pytest.mark.parametrize("kind", [*TYPES, "DORA", "RSLORA"])
def test_every_type_trains_in_float32_resumes_and_merges(lab, kind):
    """On half-precision weights, where a type that trains in their dtype would lose small steps."""
    one, two = (lab.tiny("bert", dtype=torch.bfloat16) for _ in range(2))
    one.autocast = two.autocast = True
    spec = lab.spec("peft", type=kind, options=SIZES.get(kind, {}))
    start, method = one.logits().detach(), lab.attach(one, spec)
    assert {p.dtype for group in method.groups(1.0, 1.0, 0.0) for p in group["params"]} == {torch.float32}
    lab.train(one, method, 4)
    one.model.eval()
    trained = one.logits().detach()
    assert (trained - start).abs().max() > 0.05

    again = lab.attach(two, spec, seed=5)
    again.restore({n: t.clone() for n, t in method.tensors().items()}, method.facts())
    two.model.eval()
    assert torch.equal(two.logits(), trained)
    if kind not in UNMERGED:
        method.merge()
        assert {p.dtype for p in one.model.parameters()} == {torch.bfloat16}
        assert (one.logits() - trained).abs().max() < 0.05 * start.abs().max()


def test_every_type_of_the_installed_library_is_known_or_refused_with_a_reason():
    kinds = {kind.value for kind in peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING}
    assert kinds == {*TYPES, *PROMPTS, *REFUSED}


def test_small_steps_of_a_half_precision_norm_add_up(lab):
    """A thousand steps below bfloat16's resolution at 1."""
    tiny = lab.tiny("llama", dtype=torch.bfloat16)
    method = lab.attach(tiny, lab.spec("ln_tuning"))
    norm = next(m for m in tiny.model.modules() if hasattr(m, "ln_tuning_layers")).ln_tuning_layers["default"]
    with torch.no_grad():
        norm.weight.fill_(1.0)
        for _ in range(1000):
            norm.weight += 1e-4
    method.merge()
    assert torch.equal(norm.weight, torch.full((32,), 1.1, dtype=torch.bfloat16))


@pytest.mark.parametrize("bias", ["lora_only", "all"])
def test_biases_that_an_option_frees_are_saved_and_restored(lab, bias):
    one, two = lab.tiny(), lab.tiny()
    spec = lab.spec("peft", options={"r": 4, "lora_alpha": 8, "bias": bias})
    method = lab.attach(one, spec)
    lab.train(one, method, 3)
    again = lab.attach(two, spec, seed=5)
    again.restore({n: t.clone() for n, t in method.tensors().items()}, method.facts())
    assert torch.equal(one.logits(), two.logits())


def test_dora_is_short_for_an_option_of_lora(lab):
    one, two = lab.tiny(), lab.tiny()
    lab.train(one, lab.attach(one, lab.spec("peft", type="DORA", options={"r": 4, "lora_alpha": 8})), 3)
    lab.train(two, lab.attach(two, lab.spec("dora", options={"r": 4, "lora_alpha": 8, "use_dora": True})), 3)
    assert torch.equal(one.logits(), two.logits())


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"type": "LROA"}, "'LROA' is no type of the peft library"),
        ({"type": "CPT"}, "CPT cannot be used here: it learns from examples that are written into its options"),
        ({"options": {"rnak": 3}}, "the peft library refuses LORA here: .*rnak"),
        ({"options": {"target_modules": ["x"]}}, "target_modules is no option here: the method's targets"),
        ({"options": {"init_lora_weights": "eva"}}, "init_lora_weights=eva needs a pass over data"),
    ],
)
def test_what_cannot_be_adapted_is_one_sentence(lab, changes, sentence):
    with pytest.raises(MethodError, match=sentence):
        lab.attach(lab.tiny(), lab.spec("peft", **changes))


def test_adalora_without_room_for_its_phases_is_an_error(lab):
    tiny = lab.tiny()
    options = {"init_r": 6, "target_r": 2, "lora_alpha": 8, "tinit": 5, "tfinal": 5}
    method = lab.attach(tiny, lab.spec("adalora", options=options))
    with pytest.raises(MethodError, match="fill 8 steps"):
        lab.train(tiny, method, 8)


def test_what_the_library_cannot_merge_says_so(lab):
    tiny = lab.tiny()
    method = lab.attach(tiny, lab.spec("peft", type="LILY", options={}))
    lab.train(tiny, method, 2)
    with pytest.raises(MethodError, match="the peft library cannot merge LILY"):
        method.merge()
