"""A trained method leaves as a standard PEFT adapter, which the peft library itself loads from real files."""

import json

import peft
import pytest
from safetensors.torch import save_file

from methods.errors import MethodError
from methods.export import peft_adapter

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
LOW_RANK = ("lora", "lora_plus", "asym", "asym_b", "cola", "rac", "rac_b", "cla", "r_cla", "c3la", "r_c3la", "paca",
            "dpaca", "cpaca", "dcpaca", "dylora", "sora", "l1ra")  # fmt: skip


def loaded(lab, family, method, folder):
    """A fresh model with the exported adapter on it, through files and the library."""
    config, tensors = peft_adapter(method)
    (folder / "adapter_config.json").write_text(json.dumps(config, allow_nan=False))
    save_file(tensors, folder / "adapter_model.safetensors")
    tiny = lab.tiny(family)
    tiny.model = peft.PeftModel.from_pretrained(tiny.model, str(folder))
    return tiny, config


def check(lab, family, name, folder, **changes):
    tiny = lab.tiny(family)
    start = tiny.logits().detach()
    method = lab.attach(tiny, lab.spec(name, **changes))
    lab.train(tiny, method, 7)
    tiny.model.eval()
    other, config = loaded(lab, family, method, folder)
    assert (tiny.logits() - start).abs().max() > 1e-2
    assert (other.logits() - tiny.logits()).abs().max() <= 1e-5
    return config


@pytest.mark.parametrize("name", LOW_RANK)
@pytest.mark.parametrize("family", ["roberta", "gpt2"])
def test_the_library_loads_every_low_rank_method_with_the_same_outputs(lab, name, family, tmp_path):
    config = check(lab, family, name, tmp_path)
    links = 3 if name in ("cola", "rac", "rac_b", "c3la", "r_c3la", "cpaca", "dcpaca") else 1
    parts = 2 if family == "gpt2" else 1  # q and v share one c_attn
    if name != "cpaca":  # whose random columns may come twice
        assert config["r"] == min(4 * links * parts, 32)


@pytest.mark.parametrize("family", ["bert", "deberta", "vit", "llama"])
@pytest.mark.parametrize("name", ["cola", "c3la"])
def test_every_family_is_loaded_with_all_linear_layers_adapted(lab, family, name, tmp_path):
    targets = [*lab.tiny(family).layout.targets]
    check(lab, family, name, tmp_path, targets=targets)


def test_usual_adapters_carry_usual_names(lab, tmp_path):
    config = check(lab, "bert", "cla", tmp_path)
    assert config["target_modules"] == ["query", "value"]
    assert config["modules_to_save"] == ["classifier"]
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 4, 4)


def test_names_that_would_mean_other_modules_too_are_written_in_full(lab, tmp_path):
    """BERT's `dense` is in three places of a block and in the pooler."""
    config = check(lab, "bert", "lora", tmp_path, targets=["o"])
    assert config["target_modules"] == [f"bert.encoder.layer.{n}.attention.output.dense" for n in range(2)]


def test_a_chain_longer_than_the_matrix_is_wide_needs_no_more_than_its_width(lab, tmp_path):
    config = check(lab, "bert", "cola", tmp_path, links=7, rank=8)
    assert config["r"] == 32


def test_modules_of_different_rank_are_told_apart(lab, tmp_path):
    """Seven links of 4 columns are more than the 16 rows of Llama's v need."""
    config = check(lab, "llama", "c3la", tmp_path, links=7)
    assert config["r"] == 28
    assert config["rank_pattern"] == {f"model.layers.{n}.self_attn.v_proj": 16 for n in range(2)}


@pytest.mark.parametrize("name", ["full", "head", "ba_sparse_lora", "sine_lora", "lr_lora"])
def test_what_is_not_of_low_rank_is_refused(lab, name):
    tiny = lab.tiny()
    method = lab.attach(tiny, lab.spec(name))
    with pytest.raises(MethodError, match="merge the model instead"):
        peft_adapter(method)


def test_after_the_merge_there_is_nothing_to_export(lab):
    tiny = lab.tiny()
    method = lab.attach(tiny, lab.spec("lora"))
    lab.train(tiny, method, 1)
    method.merge()
    with pytest.raises(MethodError, match="export before merging"):
        peft_adapter(method)


@pytest.mark.filterwarnings("ignore:The following rank_pattern keys:RuntimeWarning")  # the library's own AdaLoRA keys
@pytest.mark.parametrize("name", ["peft", "dora", "vera", "ia3", "adalora"])
def test_a_library_method_leaves_as_its_own_adapter(lab, name, tmp_path):
    check(lab, "bert", name, tmp_path)


def test_tensors_that_the_library_shares_are_written_each(lab, tmp_path):
    check(lab, "bert", "peft", tmp_path, type="RANDLORA", options={})
