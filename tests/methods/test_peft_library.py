"""Methods of the peft library under our contract."""

import pytest
import torch

from methods.errors import MethodError
from methods.method import Progress

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
LIBRARY = ("peft", "dora", "rslora", "vera", "adalora", "oft", "ia3", "ln_tuning")


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


@pytest.mark.parametrize("accumulate", [1, 3])
def test_adaloras_penalty_reaches_the_gradient_once_a_step(lab, accumulate):
    """Against the gradient of the library's own penalised loss minus that of the bare loss."""
    tiny = lab.tiny()
    method = lab.attach(tiny, lab.spec("adalora"))
    factors = {n: p for n, p in tiny.model.named_parameters() if "lora_A" in n or "lora_B" in n}
    for _ in range(accumulate):
        (tiny.loss() / accumulate).backward()
    ours = {n: p.grad.clone() for n, p in factors.items()}
    method.after_step(Progress(1, 10, 5))
    for hook in method._hooks:
        hook.remove()
    tiny.model.zero_grad()
    tiny.loss().backward()
    penalty = 0.0
    for name, p in factors.items():
        gram = p @ p.T if "lora_A" in name else p.T @ p
        penalty = penalty + (gram - torch.eye(len(gram))).norm() / len(factors)
    (0.5 * penalty).backward()
    assert all(torch.allclose(ours[n], p.grad, atol=1e-6) for n, p in factors.items())


def test_an_unknown_type_names_the_known_ones(lab):
    with pytest.raises(MethodError, match="peft type 'LROA' is unknown"):
        lab.attach(lab.tiny(), lab.spec("peft", type="LROA"))


def test_an_unknown_option_is_one_sentence(lab):
    with pytest.raises(MethodError, match=r"the peft library refuses LORA here: .*rnak"):
        lab.attach(lab.tiny(), lab.spec("peft", options={"rnak": 3}))


def test_methods_that_act_outside_modules_are_refused(lab):
    with pytest.raises(MethodError, match="PREFIX_TUNING"):
        lab.attach(lab.tiny(), lab.spec("peft", type="PREFIX_TUNING", options={"num_virtual_tokens": 2}))


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
