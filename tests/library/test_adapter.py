"""The adapter of a bare loop: what is trained, what is on disk, and that `peft` alone reads it."""

import copy
import json
import subprocess
import sys

import peft
import pytest
import torch
from safetensors.torch import load_file

from methods.errors import MethodError
from methods.library.layer import LibraryLinear

NAMES = ("cla", "r_cla", "paca", "c3la", "r_c3la", "lora", "asym", "cola", "rac")
CHAINS = ("c3la", "r_c3la", "cola", "rac")
CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # logits of about 1, in float32


def layers(model):
    return [module for module in model.modules() if isinstance(module, LibraryLinear)]


@pytest.mark.parametrize("name", NAMES)
def test_an_adapter_begins_at_the_models_own_output_and_leaves_its_weights_alone(script, name):
    plain = script.bert()
    before = {n: p.clone() for n, p in plain.named_parameters()}
    expected = script.logits(plain)
    model = script.adapted(name, plain)
    torch.testing.assert_close(script.logits(model), expected, rtol=0, atol=0)
    script.train(model, 3)
    assert not torch.equal(script.logits(model), expected)
    now = {n.replace("base_model.model.", "").replace("base_layer.", ""): p for n, p in model.named_parameters()}
    assert all(torch.equal(now[n], p) for n, p in before.items())


@pytest.mark.parametrize("name", NAMES)
def test_the_library_alone_gives_the_same_outputs_from_what_was_saved(script, name, tmp_path):
    model = script.adapted(name)
    script.train(model)
    model.save_pretrained(tmp_path)
    alone = peft.PeftModel.from_pretrained(script.bert(), tmp_path)
    assert not layers(alone)
    torch.testing.assert_close(script.logits(model), script.logits(alone), **CLOSE)
    written = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (written["peft_type"], written["init_lora_weights"]) == ("LORA", True)
    rank = 12 if name in CHAINS else 4
    assert (written["r"], written["lora_alpha"]) == (rank, 2 * rank)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    assert {n.split(".")[-2] for n in tensors} == {"lora_A", "lora_B"}
    assert all(t.dtype is torch.float32 for t in tensors.values())


@pytest.mark.slow  # a new process loads transformers
@pytest.mark.long
def test_a_process_without_this_project_loads_and_merges_what_was_saved(script, tmp_path):
    model = script.adapted("cla")
    script.train(model)
    model.save_pretrained(tmp_path / "adapter")
    script.bert().save_pretrained(tmp_path / "base")
    torch.save(script.logits(model), tmp_path / "logits.pt")
    torch.save(script.inputs()["input_ids"], tmp_path / "ids.pt")
    code = (
        "import sys, torch, transformers, peft\n"
        "base = transformers.BertForSequenceClassification.from_pretrained('base')\n"
        "model = peft.PeftModel.from_pretrained(base, 'adapter').merge_and_unload().eval()\n"
        "out = model(input_ids=torch.load('ids.pt')).logits\n"
        "torch.testing.assert_close(out, torch.load('logits.pt'), rtol=1e-4, atol=1e-5)\n"
        "assert not any(name.split('.')[0] in ('methods', 'harness') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, cwd=tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_our_config_reads_it_back_and_training_goes_on(script, name, tmp_path):
    model = script.adapted(name)
    optimizer = script.train(model, 3)
    model.save_pretrained(tmp_path)
    again = peft.PeftModel.from_pretrained(script.bert(), tmp_path, config=script.config(name), is_trainable=True)
    assert len(layers(again)) == 4
    other = script.optimizer_of(again)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    script.train(model, 6, optimizer, first=3)
    script.train(again, 6, other, first=3)
    for key, tensor in script.factors(model).items():
        assert torch.equal(tensor, script.factors(again)[key]), key


@pytest.mark.parametrize("name", NAMES)
def test_merged_unmerged_and_disabled_models_compute_what_they_should(script, name):
    plain, model = script.logits(script.bert()), script.adapted(name)
    script.train(model)
    expected = script.logits(model)
    with model.disable_adapter():
        torch.testing.assert_close(script.logits(model), plain, rtol=0, atol=0)
    model.merge_adapter()
    torch.testing.assert_close(script.logits(model), expected, **CLOSE)
    model.unmerge_adapter()
    torch.testing.assert_close(script.logits(model), expected, **CLOSE)
    torch.testing.assert_close(script.logits(copy.deepcopy(model).unload()), plain, **CLOSE)
    merged = model.merge_and_unload()
    assert not any("lora" in n for n, _ in merged.named_modules())
    torch.testing.assert_close(script.logits(merged), expected, **CLOSE)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("lora", "cola")])
def test_a_is_frozen_after_everything_that_frees_an_adapter(script, name):
    model = script.adapted(name)
    with model.disable_adapter():
        pass
    model.add_adapter("other", script.config("lora"))
    model.set_adapter("other")
    model.set_adapter("default")
    model.set_requires_grad("default", True)
    free = {n.split(".")[-3] for n, p in model.named_parameters() if p.requires_grad}
    assert free == {"lora_B"}


def test_several_adapters_are_switched_added_up_and_deleted(script):
    model = script.adapted("cla")
    script.train(model)
    first = script.logits(model)
    model.add_adapter("second", script.config("r_cla"))
    model.add_adapter("stock", peft.LoraConfig(r=4, target_modules=script.QV, init_lora_weights=False))
    model.set_adapter("second")
    script.train(model)
    second = script.logits(model)
    model.base_model.set_adapter(["default", "second"])
    both = script.logits(model)
    merged = copy.deepcopy(model).merge_and_unload()  # the library's own arithmetic
    torch.testing.assert_close(both, script.logits(merged), **CLOSE)
    model.set_adapter("stock")
    stock = script.logits(model)
    torch.testing.assert_close(stock, script.logits(copy.deepcopy(model).merge_and_unload()), **CLOSE)
    model.set_adapter("default")
    model.delete_adapter("second")
    torch.testing.assert_close(script.logits(model), first, rtol=0, atol=0)
    assert not torch.equal(first, second)


def test_a_config_of_ours_on_a_model_whose_layers_are_not_ours_is_refused(script):
    stock = peft.get_peft_model(script.bert(), peft.LoraConfig(r=4, target_modules=script.QV))
    with pytest.raises(ValueError, match="cla"):
        stock.add_adapter("ours", script.config("cla"))


@pytest.mark.parametrize("name", NAMES)
def test_conv1d_is_trained_merged_and_read_back(script, name, tmp_path):
    def loss(model, batch):
        return model(input_ids=batch["input_ids"], labels=batch["input_ids"]).loss

    model = script.adapted(name, script.gpt2(), target_modules=["c_attn", "c_fc"])
    script.train(model, loss=loss)
    expected = script.logits(model)
    model.save_pretrained(tmp_path)
    alone = peft.PeftModel.from_pretrained(script.gpt2(), tmp_path)
    torch.testing.assert_close(script.logits(alone), expected, **CLOSE)
    torch.testing.assert_close(script.logits(model.merge_and_unload()), expected, **CLOSE)


def test_embeddings_are_refused_in_a_sentence(script):
    with pytest.raises(MethodError, match="word_embeddings is a Embedding; cla acts on nn"):
        script.adapted("cla", target_modules=["word_embeddings"])
