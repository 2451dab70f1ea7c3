"""`peftlab serve-probe`: every way to serve an adapter, its size, and what merging rounds away."""

import json

import numpy as np
import peft
import pytest
import torch
import transformers
from safetensors.numpy import load_file

from harness.__main__ import main
from harness.ledger.store import Store

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
FAST = ("rounds=2", "batch=2", "length=8", "new_tokens=2")


@pytest.fixture
def adapter(tmp_path):
    """A LoRA adapter by peft alone, of rank 4 and with random factors, on a Llama that lies beside it."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                                      num_attention_heads=2, num_key_value_heads=1)  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "base")
    base = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "base")  # peft writes down where it is from
    lora = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    model = peft.get_peft_model(base, lora)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.1)
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def served(capsys, *words):
    assert main(["serve-probe", *map(str, words), "device=cpu", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_way_is_timed_in_every_round_and_its_size_is_that_of_its_files(adapter, capsys):
    answer = served(capsys, adapter, *FAST)
    ways = {row["way"]: row for row in answer["rows"]}
    assert list(ways) == ["merged", "unmerged", "rank 2", "rank 1", "two, switched"]
    for row in ways.values():
        for part in ("prefill", "decode"):
            assert len(row[part]["ms"]) == 2 and min(row[part]["ms"]) > 0
    assert ways["merged"]["decode"]["over_merged"] == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 2}
    ms = ways["unmerged"]["prefill"]
    assert ms["per_second"] == pytest.approx(1e3 * 2 * 8 / np.median(ms["ms"]))  # tokens of the prompts
    files = ("adapter_model.safetensors", "adapter_config.json")
    assert ways["unmerged"]["bytes"] == sum((adapter / name).stat().st_size for name in files)
    weights = adapter.parent / "base" / "model.safetensors"
    assert ways["merged"]["bytes"] == weights.stat().st_size - _header(weights)
    assert ways["rank 1"]["bytes"] < ways["rank 2"]["bytes"] < ways["unmerged"]["bytes"]


def _header(file):
    return 8 + int.from_bytes(file.read_bytes()[:8], "little")


def test_what_merging_rounds_away_is_found_by_dense_maths_too(adapter, capsys):
    """bfloat16 weights: W + s·B·A in float64, rounded once, in a plain model, against the same sum not rounded."""
    found = served(capsys, adapter, *FAST, "ranks=[1]")["merge_error"]
    factors = {
        name: value.astype(np.float64) for name, value in load_file(adapter / "adapter_model.safetensors").items()
    }
    models = []
    for rounded in (False, True):
        model = transformers.LlamaForCausalLM.from_pretrained(adapter.parent / "base", dtype=torch.float64).eval()
        for name, module in model.named_modules():
            if name.endswith(("q_proj", "v_proj")):
                b, a = (factors[f"base_model.model.{name}.lora_{side}.weight"] for side in "BA")
                module.weight.data += torch.from_numpy(2.0 * b @ a)
        models.append(model.to(torch.bfloat16) if rounded else model)
    ids = torch.randint(5, 64, (2, 8), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact, merged = (model(ids).logits.double() for model in models)
    by_hand = float((merged - exact).abs().max() / exact.abs().max())
    assert found["float32"]["unmerged"] == 0.0 and found["float32"]["merged"] < 1e-5
    assert found["bfloat16"]["merged"] == pytest.approx(by_hand, rel=0.7)  # W is rounded before the sum, too
    assert 1e-4 < found["bfloat16"]["unmerged"] < 0.1


def test_an_adapter_that_has_no_rank_is_served_at_none(adapter, tmp_path, capsys):
    base = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "base")
    ia3 = peft.IA3Config(target_modules=["v_proj"], feedforward_modules=[], task_type="CAUSAL_LM")
    peft.get_peft_model(base, ia3).save_pretrained(tmp_path / "ia3")
    answer = served(capsys, tmp_path / "ia3", *FAST)
    assert [row["way"] for row in answer["rows"]] == ["merged", "unmerged", "two, switched"]
    assert main(["serve-probe", str(tmp_path / "ia3"), "ranks=[2]"]) == 2
    assert "only LORA adapters can be squeezed" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [peft.PromptTuningConfig, peft.PrefixTuningConfig])
def test_a_learned_prompt_is_served_beside_the_base_and_says_what_context_it_takes(adapter, tmp_path, capsys, kind):
    base = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "base")
    peft.get_peft_model(base, kind(task_type="CAUSAL_LM", num_virtual_tokens=5)).save_pretrained(tmp_path / "prompt")
    answer = served(capsys, tmp_path / "prompt", *FAST)
    assert [row["way"] for row in answer["rows"]] == ["base model", "unmerged", "two, switched"]
    assert answer["rows"][0]["decode"]["over_base_model"]["value"] == 1.0
    assert answer["context"] == {"tokens": 5, "of": 2048}
    assert set(answer["merge_error"]["bfloat16"]) == {"unmerged"}
    assert main(["serve-probe", str(tmp_path / "prompt"), *FAST]) == 0
    said = capsys.readouterr().out
    assert "over base model" in said and "takes up 5 of the model's 2048 tokens of context" in said


@pytest.mark.parametrize("method", ["adapter_serial", "prompt_tuning"])
def test_what_cannot_be_merged_scores_as_in_its_record(method, tmp_path, peftlab_cache, capsys):
    where = [f"runs={tmp_path / 'runs'}", f"cache={peftlab_cache}", "device=cpu"]
    words = [f"method={method}", "model=gpt2_small", "model.size=tiny", "dataset=kinship_lm", "recipe=tiny",
             "+dataset.split.limit={train: 32, validation: 16, test: 16}", "tracker=none",
             "recipe.precision=float32"]  # fmt: skip
    assert main(["run", *words, *where, "--json"]) == 0
    record = Store(tmp_path / "runs").read(json.loads(capsys.readouterr().out)["id"])
    answer = served(capsys, record.id, *FAST, *where, "--picture", tmp_path / "serving.png")
    metric = record.spec["dataset"]["metric"]
    assert answer["score"]["float32"]["unmerged"] == pytest.approx(record.scores["test"][metric].value, rel=1e-5)
    assert [row["way"] for row in answer["rows"]][:2] == ["base model", "unmerged"]
    assert "decode" in answer["rows"][1] and answer["rows"][1]["bytes"] > 0


def test_a_runs_score_is_its_records_and_the_answer_lies_beside_it(tmp_path, peftlab_cache, capsys):
    where = [f"runs={tmp_path / 'runs'}", f"cache={peftlab_cache}"]
    words = ["method=cla", "method.update.rank=4", "model=vit_micro", "dataset=digits", "recipe=tiny", "tracker=none",
             "+dataset.split.limit={train: 60}"]  # fmt: skip
    assert main(["run", *words, *where, "device=cpu", "--json"]) == 0
    record = Store(tmp_path / "runs").read(json.loads(capsys.readouterr().out)["id"])
    answer = served(capsys, record.id[:10], *FAST[:2], "ranks=2,1", *where, "--picture", tmp_path / "serving.png")
    assert answer["score"]["float32"]["unmerged"] == pytest.approx(record.scores["test"]["accuracy"].value, abs=1e-9)
    assert set(answer["score"]["bfloat16"]) == {"unmerged", "merged"}
    assert "decode" not in answer["rows"][0], "a classifier writes nothing"
    (side,) = (tmp_path / "runs" / record.id / "served").glob("*.json")
    assert json.loads(side.read_bytes())["answer"]["merge_error"] == answer["merge_error"]
    assert (tmp_path / "serving.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["ranks=[4]"], "4 is no rank from 1 to below the adapter's own, 4"),
        (["ranks=[two]"], "ranks"),
        (["rounds=1"], "rounds"),
        (["rnaks=[1]"], "rnaks"),
        (["--picture", "x.svg"], "must end in .png"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(adapter, capsys, words, sentence):
    assert main(["serve-probe", str(adapter), *words]) == 2
    assert sentence in (said := capsys.readouterr().err) and said.count("\n") == 1


def test_an_adapter_that_names_no_base_model_says_so(adapter, capsys):
    file = adapter / "adapter_config.json"
    for key, sentence in (("task_type", "task_type is None"), ("base_model_name_or_path", "names no base model")):
        file.write_text(json.dumps(json.loads(file.read_text()) | {key: None, "auto_mapping": None}))
        assert main(["serve-probe", str(adapter)]) == 2
        assert sentence in (said := capsys.readouterr().err) and said.count("\n") == 1
