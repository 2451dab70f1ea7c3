"""Runs on quantised bases, from the words to the record."""

from dataclasses import replace

import pytest
import torch
from transformers import LlamaForCausalLM

from harness.__main__ import main
from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.ledger.errors import PlanError, SpecError
from harness.ledger.seeds import Seeds
from harness.ledger.store import Store
from harness.models import extras, quantise
from harness.models.load import build_from_config, load_model
from harness.planning.estimate import estimates
from harness.planning.plan import plan_one, plan_sweep, read_request
from harness.training.run import run_one
from tests.models.test_load import card, task

pytest.importorskip("bitsandbytes")
RESOLVER = Resolver()
WORDS = ("model=tinyllama", "model.size=tiny", "dataset=kinship_choice", "dataset.task.max_length=32", "recipe=tiny",
         "recipe.max_steps=3", "recipe.batch_size=1", "dataset.split.limit={train: 16, validation: 8, test: 8}",
         "tracker=none", "device=cpu")  # fmt: skip
NF4 = ("model.quantization=nf4", "model.double_quantization=true")


@pytest.fixture
def ran(tmp_path, peftlab_cache):
    """Do a run in the test's own store; its record."""

    def run(*words):
        request = read_request([*WORDS, f"runs={tmp_path}", f"cache={peftlab_cache}", *words])
        return run_one(plan_one(request, RESOLVER), Store(tmp_path), settings_from(request.config))

    return run


@pytest.mark.parametrize("words", [NF4, ("model.quantization=int8",)], ids=["nf4", "int8"])
def test_a_run_beside_packed_weights_is_recorded_counted_as_planned_and_merged(
    ran, tmp_path, peftlab_cache, words, capsys
):
    record = ran("method=c3la", *words)
    assert record.status == "done", record.failure
    assert record.spec["model"]["quantization"] in words[0] and len(record.links) == 2
    assert record.provenance["quantization"].startswith("bitsandbytes 0.")
    plain = build_from_config(card("tinyllama", "model.size=tiny"), task("kinship_choice"), device="meta")
    count = sum(parameter.numel() for parameter in plain.parameters())
    assert record.parameters["total"].value == count + record.parameters["adapter"].value
    (cell,) = estimates(
        plan_sweep(read_request([*WORDS, "method=c3la", *words]), RESOLVER), Store(tmp_path), peftlab_cache
    )
    ledger = {role: quantity.value for role, quantity in record.ledger.items()}  # of the first step; planned: the last
    beside = (3 + 3 + 1) * ledger["adapter"]  # columns of three links before and after, and those of this one
    assert cell.ledger["weights"] == ledger["weights"] + beside
    for role in ("adapter", "gradients", "optimizer"):
        assert cell.ledger[role] == ledger[role], role
    plain, kind = tmp_path / "plain", record.spec["model"]["quantization"]
    assert main(["merge", record.id, str(plain), f"runs={tmp_path}", f"cache={peftlab_cache}"]) == 0
    assert f"packed to {kind} again they miss the update by" in capsys.readouterr().out
    merged = LlamaForCausalLM.from_pretrained(plain)
    assert "quantization_config" not in merged.config.to_dict()
    assert type(merged.model.layers[0].self_attn.q_proj) is torch.nn.Linear


def test_a_method_of_the_peft_library_trains_beside_packed_weights(ran):
    record = ran("method=dora", *NF4)
    assert record.status == "done", record.failure


def test_packing_changes_an_id_and_its_absence_changes_none():
    plain, same, packed = (
        plan_one(read_request([*WORDS, "method=lora", *more]), RESOLVER)
        for more in ((), ("model.quantization=null", "model.double_quantization=false"), NF4)
    )
    assert plain.id == same.id != packed.id
    assert "quantization" not in plain.spec["model"]


@pytest.mark.parametrize(
    ("words", "kind", "says"),
    [
        (("method=full", *NF4), PlanError, "full trains every weight, and those of tinyllama are packed .nf4."),
        (("method=lora", "model.double_quantization=true"), SpecError, "only nf4 has scales to quantise"),
        (("method=lora", "model.compute_dtype=bfloat16"), SpecError, "set model.quantization to nf4 or int8"),
        (("method=lora", "model.quantization=fp4"), SpecError, "model.quantization.*nf4"),
    ],
)
def test_what_cannot_be_quantised_so_is_refused_when_planning(words, kind, says):
    with pytest.raises(kind, match=says):
        plan_one(read_request([*WORDS, *words]), RESOLVER)


def test_without_bitsandbytes_one_sentence_says_what_to_install(monkeypatch, tmp_path, peftlab_cache, capsys):
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    code = main(["run", *WORDS, "method=lora", *NF4, f"runs={tmp_path}", f"cache={peftlab_cache}"])
    assert code == 2
    assert capsys.readouterr().err == (
        "peftlab: model.quantization=nf4 needs bitsandbytes, which is not installed: "
        "pip install 'peftlab[quantized]'.\n"
    )


def test_heads_and_embeddings_are_not_packed(peftlab_cache):
    spec = replace(card("gpt2_small", "model.size=tiny"), quantization="int8")
    model = load_model(spec, task("mrpc"), Seeds(0), peftlab_cache).model
    packed = {name.rpartition(".")[2] for name, _ in quantise.quantised_modules(model)}
    assert packed == {"c_attn", "c_proj", "c_fc"}
