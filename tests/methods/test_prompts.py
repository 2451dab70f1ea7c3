"""Learned prompts: the same function as the peft library's own wrapper, under our contract."""

import copy

import peft
import pytest
import torch
import transformers
from safetensors.torch import save_file

from harness.ledger.paths import to_json
from methods.errors import MethodError
from methods.library_types import PROMPTS
from methods.method import Layout
from tests.methods.conftest import LLAMA, TEXT, Tiny

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
KINDS = ["PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "CARTRIDGE"]
ROWS = 5


def attached(lab, tiny, kind, seed=0):
    return lab.attach(tiny, lab.spec("peft", type=kind, options={"num_virtual_tokens": ROWS}), seed=seed)


def in_peft(model, method, folder, task):
    """`model` in the library's own wrapper, from the adapter that the method exports."""
    config, tensors = method.library_adapter()
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(to_json(config | {"task_type": task}))
    return peft.PeftModel.from_pretrained(model, folder).eval()


def padded(tiny):
    """One row of the batch ends after four tokens."""
    pad = tiny.model.config.pad_token_id or 0
    mask = torch.ones_like(tiny.inputs["input_ids"])
    mask[1, 4:] = 0
    tiny.inputs["input_ids"][1, 4:] = pad
    tiny.inputs["attention_mask"] = mask


def writer(seed=0):
    torch.manual_seed(seed)
    sizes = {key: value for key, value in TEXT.items() if key != "num_labels"}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, **ids, num_key_value_heads=1))
    return Tiny(model.train(), Layout(LLAMA, ()), {"input_ids": torch.randint(3, 64, (3, 7))})


def test_every_prompt_type_is_met_here():
    assert sorted(KINDS) == sorted(PROMPTS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["bert", "roberta", "deberta", "gpt2", "llama"])
def test_a_trained_prompt_exported_is_the_same_function_in_the_librarys_wrapper(lab, family, kind, tmp_path):
    if family == "deberta" and kind in ("PREFIX_TUNING", "CARTRIDGE"):
        return  # refused: below
    tiny = lab.tiny(family)
    plain, before = copy.deepcopy(tiny.model), tiny.logits().detach()
    method = attached(lab, tiny, kind)
    lab.train(tiny, method, 2)
    tiny.model.eval()
    padded(tiny)
    if family == "llama":  # whose wrapper looks for the last token at the end of the padding
        tiny.inputs = {name: value[::2] for name, value in tiny.inputs.items()}
    wrapped = in_peft(plain, method, tmp_path, "CAUSAL_LM" if family == "gpt2" else "SEQ_CLS")
    with torch.no_grad():
        ours, theirs = tiny.logits(), wrapped(**tiny.inputs).logits
    read = tiny.inputs["attention_mask"].bool() if family == "gpt2" else slice(None)  # what padding says is no matter
    assert torch.allclose(ours[read], (theirs[:, -7:] if family == "gpt2" else theirs)[read], atol=1e-6)
    assert ours.shape[1:] == before.shape[1:] and (ours[0] - before[0]).abs().max() > 1e-2


@pytest.mark.parametrize("kind", KINDS)
def test_a_decoder_classifies_a_padded_text_as_it_does_that_text_alone(lab, kind):
    tiny = lab.tiny("llama")
    attached(lab, tiny, kind)
    padded(tiny)
    tiny.model.eval()
    together = tiny.logits()[1]
    alone = tiny.model(input_ids=tiny.inputs["input_ids"][1:2, :4]).logits[0]
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_behind_a_prompt_is_what_reading_everything_again_says(lab, kind, tmp_path):
    """Against greedy decoding without a cache, against the library's wrapper, and with padding on the left."""
    tiny = writer()
    plain, ids = copy.deepcopy(tiny.model), tiny.inputs["input_ids"]
    method = attached(lab, tiny, kind)
    lab.train(tiny, method, 3, lr=0.1)
    tiny.model.eval()
    asked = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    written = tiny.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **asked)
    again = ids
    for _ in range(5):
        again = torch.cat([again, tiny.model(input_ids=again).logits[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(written, again)
    wrapped = in_peft(plain, method, tmp_path, "CAUSAL_LM")
    assert torch.equal(wrapped.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **asked), written)
    pads = torch.zeros(3, 4, dtype=torch.long)
    left = {"input_ids": torch.cat([pads, ids], 1), "attention_mask": torch.cat([pads, torch.ones_like(ids)], 1)}
    assert torch.equal(tiny.model.generate(**left, **asked)[:, 11:], written[:, 7:])
    last = tiny.model(**left, logits_to_keep=1).logits[:, -1]
    assert torch.allclose(last, tiny.logits()[:, -1], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_resumes_bit_for_bit_and_nothing_else_moves(lab, kind):
    one, two = lab.tiny(), lab.tiny()
    frozen = {name: p.clone() for name, p in one.model.named_parameters() if not name.startswith("classifier")}
    method = attached(lab, one, kind)
    sgd = {"optimizer": torch.optim.SGD(method.groups(1e-2, 1e-2, 0.0))}
    lab.train(one, method, 4, total=8, **sgd)
    kept = {name: tensor.clone() for name, tensor in method.tensors().items()}
    lab.train(one, method, 8, first=4, **sgd)
    again = attached(lab, two, kind, seed=5)
    again.restore(kept, method.facts())
    lab.train(two, again, 8, first=4, optimizer=torch.optim.SGD(again.groups(1e-2, 1e-2, 0.0)))
    assert torch.equal(one.logits(), two.logits())
    now = dict(one.model.named_parameters())
    assert all(torch.equal(now[name], value) for name, value in frozen.items())


@pytest.mark.parametrize(("kind", "count"), [
    ("PROMPT_TUNING", ROWS * 32), ("P_TUNING", ROWS * 32 + 3 * (32 * 32 + 32)),
    ("PREFIX_TUNING", ROWS * 2 * 2 * 32), ("CARTRIDGE", (ROWS - 1) * 2 * 2 * 32),
])  # fmt: skip
def test_the_count_is_the_papers_formula_and_every_tensor_gets_a_gradient(lab, kind, count):
    """Rows × width; MLP of three layers beside; rows × blocks × (key, value) × width, of which a cartridge's first
    stays."""
    tiny = lab.tiny()
    method = attached(lab, tiny, kind)
    assert method.counts()["adapter"] == count
    tiny.loss().backward()
    assert all(p.grad is not None and p.grad.any() for p in method._trained.values())


@pytest.mark.parametrize("kind", ["PROMPT_TUNING", "PREFIX_TUNING"])
def test_a_prompt_of_a_half_precision_model_is_trained_in_float32(lab, kind):
    tiny = lab.tiny(dtype=torch.bfloat16)
    tiny.autocast = True
    method = attached(lab, tiny, kind)
    assert {p.dtype for p in method._trained.values()} == {torch.float32}
    before = tiny.logits().detach()
    lab.train(tiny, method, 3)
    assert (tiny.logits() - before).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("family", "kind", "options", "sentence"),
    [
        ("vit", "PROMPT_TUNING", {"num_virtual_tokens": 5}, "in front of a text, and ViTForImage.* reads images"),
        ("deberta", "PREFIX_TUNING", {"num_virtual_tokens": 5}, "takes no keys and values from before"),
        ("bert", "PROMPT_TUNING", {}, "needs to know how many tokens it learns"),
        ("bert", "PROMPT_TUNING", {"num_virtual_tokens": 5, "prompt_tuning_init": "TEXT"}, "asks the hub"),
        ("bert", "P_TUNING", {"num_virtual_tokens": 5, "size": 2}, "the peft library refuses P_TUNING here: .*size"),
    ],
)
def test_what_cannot_have_a_prompt_is_one_sentence(lab, family, kind, options, sentence):
    with pytest.raises(MethodError, match=sentence):
        lab.attach(lab.tiny(family), lab.spec("peft", type=kind, options=options))


def test_a_prompt_has_nothing_to_merge_and_says_so(lab):
    with pytest.raises(MethodError, match=r"no change of the weights: .* cannot be merged; export it"):
        attached(lab, lab.tiny(), "P_TUNING").merge()
