"""`peftlab squeeze`: adapters written by plain peft, at a lower rank, loaded by plain peft again."""

import json
import warnings

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from harness.__main__ import main
from harness.models.lora_folder import open_lora

IDS = torch.arange(12).reshape(2, 6)


def _llama():
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=40, max_position_embeddings=32, tie_word_embeddings=False,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def _gpt2():
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=40, n_positions=32)).eval()


def _saved(model, folder, **options):
    """A plain peft adapter with random factors."""
    options = {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj", "down_proj"]} | options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = peft.get_peft_model(model, peft.LoraConfig(**options))
    rng = torch.Generator().manual_seed(1)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            parameter.data = torch.randn(parameter.shape, generator=rng).to(parameter.dtype) * 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted.save_pretrained(folder)
    return adapted.eval()


def _outputs(model):
    with torch.no_grad():
        return model(IDS).logits


def _loaded(base, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return peft.PeftModel.from_pretrained(base, folder).eval()


CASES = {
    "plain": (_llama, {}),
    "rank pattern": (_llama, {"rank_pattern": {"q_proj": 4, r"layers\.1\.mlp\.down_proj": 12}}),
    "alpha pattern": (_llama, {"alpha_pattern": {"v_proj": 3}}),
    "rsLoRA": (_llama, {"use_rslora": True}),
    "fused Conv1D": (_gpt2, {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
    "embedding": (_llama, {"target_modules": ["embed_tokens", "q_proj"]}),
    "head saved whole": (_llama, {"modules_to_save": ["lm_head"]}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_squeeze_that_keeps_the_rank_leaves_every_output_as_it_was(case, tmp_path):
    make, options = CASES[case]
    before = _outputs(_saved(make(), tmp_path / "source", **options))
    assert main(["squeeze", str(tmp_path / "source"), str(tmp_path / "same"), "--rank", "64"]) == 0
    assert torch.allclose(_outputs(_loaded(make(), tmp_path / "same")), before, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_a_lower_rank_is_the_truncated_update_of_every_module(case, tmp_path):
    make, options = CASES[case]
    _saved(make(), tmp_path / "source", **options)
    assert main(["squeeze", str(tmp_path / "source"), str(tmp_path / "small"), "--rank", "2"]) == 0
    _loaded(make(), tmp_path / "small")
    with open_lora(tmp_path / "source") as source, open_lora(tmp_path / "small") as small:
        assert source.modules() == small.modules()
        for whole, part in zip(source.pairs(), small.pairs(), strict=True):
            u, s, vt = torch.linalg.svd(whole.scale * (whole.b @ whole.a))
            best = (u[:, :2] * s[:2]) @ vt[:2]
            assert part.a.shape[0] == 2
            assert torch.allclose(part.scale * (part.b @ part.a), best, atol=1e-5)


def test_a_share_gives_each_module_its_own_rank_and_peft_loads_it(tmp_path):
    _saved(_llama(), tmp_path / "source")
    assert main(["squeeze", str(tmp_path / "source"), str(tmp_path / "small"), "--keep", "0.8"]) == 0
    config = json.loads((tmp_path / "small" / "adapter_config.json").read_text())
    ranks = {
        len(tensor)
        for name, tensor in load_file(tmp_path / "small" / "adapter_model.safetensors").items()
        if "lora_A" in name
    }
    assert ranks == {config["r"], *config["rank_pattern"].values()}
    small = _loaded(_llama(), tmp_path / "small")
    own = {name: len(p) for name, p in small.named_parameters() if "lora_A" in name}
    assert set(own.values()) == ranks
    assert main(["squeeze", str(tmp_path / "source"), str(tmp_path / "one"), "--keep", "0.8", "--uniform"]) == 0
    assert json.loads((tmp_path / "one" / "adapter_config.json").read_text())["r"] == max(ranks)


def test_half_precision_stays_half_precision_and_the_picture_is_drawn(tmp_path, capsys):
    _saved(_llama().bfloat16(), tmp_path / "source")
    tensors = load_file(tmp_path / "source" / "adapter_model.safetensors")
    save_file(
        {name: tensor.bfloat16() for name, tensor in tensors.items()}, tmp_path / "source" / "adapter_model.safetensors"
    )
    assert main(["squeeze", str(tmp_path / "source"), str(tmp_path / "small"), "--rank", "4"]) == 0
    small = load_file(tmp_path / "small" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in small.values()} == {torch.bfloat16}
    assert (tmp_path / "small" / "spectrum.png").read_bytes().startswith(b"\x89PNG")
    assert "q_proj" in capsys.readouterr().out


REFUSED = {
    "DoRA": ({"use_dora": True}, "use_dora"),
    "trained biases": ({"bias": "lora_only"}, "bias"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_more_than_a_product_is_refused_in_one_sentence(what, tmp_path, capsys):
    options, word = REFUSED[what]
    model = _llama()
    _saved(model, tmp_path / "source", **options)
    assert main(["squeeze", str(tmp_path / "source"), str(tmp_path / "small"), "--rank", "4"]) == 2
    said = capsys.readouterr().err
    assert word in said and said.count("\n") == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "source"]


def _damaged(folder, how):
    weights, config = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    if how == "no folder":
        return folder.with_name("nowhere")
    if how == "pickle":
        weights.rename(folder / "adapter_model.bin")
    if how == "cut weights":
        weights.write_bytes(weights.read_bytes()[:100])
    if how == "no json":
        config.write_text("{")
    if how == "a list":
        config.write_text("[]")
    if how == "another type":
        config.write_text(json.dumps({"peft_type": "IA3"}))
    if how == "alpha a word":
        config.write_text(json.dumps({"peft_type": "LORA", "lora_alpha": "big"}))
    if how == "no factors":
        save_file({"x": torch.ones(1)}, weights)
    if how == "B lost":
        save_file({name: t for name, t in load_file(weights).items() if "lora_B" not in name}, weights)
    if how == "B of another rank":
        save_file({n: t[:, :3].clone() if "lora_B" in n else t for n, t in load_file(weights).items()}, weights)
    if how == "PiSSA":
        config.write_text(json.dumps(json.loads(config.read_text()) | {"init_lora_weights": "pissa_niter_4"}))
    return folder


@pytest.mark.parametrize(
    "how",
    ["no folder", "pickle", "cut weights", "no json", "a list", "another type", "alpha a word", "no factors", "B lost",
     "B of another rank", "PiSSA"],
)  # fmt: skip
def test_a_folder_that_is_no_lora_adapter_is_one_sentence_and_leaves_nothing(how, tmp_path, capsys):
    _saved(_llama(), tmp_path / "source")
    folder = _damaged(tmp_path / "source", how)
    assert main(["squeeze", str(folder), str(tmp_path / "small"), "--rank", "4"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and folder.name in said
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize(
    "words",
    [[], ["--rank", "0"], ["--rank", "x"], ["--keep", "0"], ["--keep", "1.5"], ["--keep", "nan"], ["--uniform"],
     ["--rank", "4", "--keep", "0.9"], ["--rank", "4", "--uniform"], ["--rank", "4", "--oops"], ["--backend", "svd"]],
)  # fmt: skip
def test_wrong_words_are_one_sentence(words, tmp_path, capsys):
    assert main(["squeeze", str(tmp_path / "a"), str(tmp_path / "b"), *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("peftlab: ") and said.count("\n") == 1


def test_a_folder_with_files_is_never_written_over(tmp_path, capsys):
    _saved(_llama(), tmp_path / "source")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").write_text("mine")
    assert main(["squeeze", str(tmp_path / "source"), str(tmp_path / "taken"), "--rank", "4"]) == 2
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["mine"]
    assert "is there already" in capsys.readouterr().err


def test_a_convolution_is_squeezed_as_the_matrix_it_is(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 10, 3)

        def forward(self, x):
            return self.conv(x)

    torch.manual_seed(0)
    base = Net()
    adapted = _saved(base, tmp_path / "source", target_modules=["conv"])
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        before = adapted(x)
        assert main(["squeeze", str(tmp_path / "source"), str(tmp_path / "same"), "--rank", "8"]) == 0
        torch.manual_seed(0)
        assert torch.allclose(_loaded(Net(), tmp_path / "same")(x), before, atol=1e-5)
