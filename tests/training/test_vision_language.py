"""Whole runs on images and questions: they go on bit for bit, scores are proved, others load what they leave."""

import io
import json
from dataclasses import replace

import peft
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from analysis.checks.run import check_run
from harness.__main__ import main
from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.data.builtin.shapes_vqa import build
from harness.ledger.fingerprint import ENVIRONMENT
from harness.ledger.parse import parse
from harness.ledger.seeds import Seeds
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store
from harness.models.load import load_model
from harness.planning.plan import plan_one, read_request
from harness.planning.step_cost import step_cost
from harness.tasks.build import build as build_task
from harness.training.context import Stopped
from harness.training.run import run_one

OPTIONS = {"seed": 20261125, "rows": 150}
WORDS = (
    "model=gemma3_micro", "dataset=shapes_vqa", "dataset.source.options.rows=150", "recipe=quick_vision_language",
    "recipe.max_steps=8", "recipe.evaluations=2", "recipe.batch_size=16", "tracker=none", "device=cpu",
)  # fmt: skip
WRITTEN = (
    "dataset.task.answer=generation", "dataset.task.candidates=[]", "dataset.task.label=null", "dataset.task.labels=[]",
    "dataset.task.target=' {answer}'", "dataset.task.max_new_tokens=2", "dataset.task.answers=answer",
    "dataset.metric=anls", "dataset.metrics=[anls]",
)  # fmt: skip


@pytest.fixture
def begin(tmp_path, peftlab_cache):
    def plan(*words, store="runs"):
        request = read_request([*WORDS, f"runs={tmp_path / store}", f"cache={peftlab_cache}", *words])
        settings = settings_from(request.config)
        return plan_one(request, Resolver()), Store(settings.runs), settings

    return plan


def kept(store, planned):
    return pq.read_table(store.paths(planned.id).predictions)


@pytest.mark.parametrize(
    "words",
    [("method=lora",), ("method=cola",), ("method=full",), ("method=lora", *WRITTEN)],
    ids=lambda words: words[-1],
)
def test_a_run_that_was_stopped_goes_on_bit_for_bit(begin, words):
    whole = begin(*words)
    straight = run_one(*whole)
    assert straight.status == "done", straight.failure
    planned, store, settings = begin(*words, store="stopped")
    asked = iter(range(10_000))
    with pytest.raises(Stopped):
        run_one(planned, store, settings, stop=lambda: next(asked) > 4)
    resumed = run_one(planned, store, settings)
    assert resumed.attempts == 2
    assert kept(whole[1], planned).equals(kept(store, planned))
    assert [(p.step, p.val, p.lr) for p in resumed.curve] == [(p.step, p.val, p.lr) for p in straight.curve]


@pytest.mark.parametrize("words", [(), WRITTEN])
def test_the_audit_proves_a_run_and_its_record_says_what_read_the_images(begin, words):
    planned, store, settings = begin("method=lora", *words)
    record = run_one(planned, store, settings)
    findings = check_run(store.paths(planned.id).folder)
    assert not [finding for finding in findings if finding.level != "suspicious"], findings
    assert record.provenance["images"].startswith("PIL ") and "images" not in ENVIRONMENT
    path = store.paths(planned.id).predictions
    rows = pq.read_table(path).to_pandas()
    metric = record.spec["dataset"]["metric"]
    rows["prediction"] = [target if words == () else json.loads(target)[0] for target in rows["target"]]  # all right
    rows.to_parquet(path, index=False)
    found = " ".join(finding.what for finding in check_run(store.paths(planned.id).folder))
    assert f"test {metric} is" in found


def test_a_run_without_images_says_nothing_of_them(begin):
    words = ("model=minilm", "dataset=kinship", "dataset.source.options.rows=150", "recipe=tiny", "recipe.max_steps=1")
    planned, store, settings = begin("method=lora", *words, "recipe.evaluations=1")
    assert "images" not in run_one(planned, store, settings).provenance


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("verb", ["export", "merge"])
def test_peft_and_transformers_alone_give_the_runs_own_answers(begin, tmp_path, verb, capsys):
    planned, store, settings = begin("method=lora", "method.targets=[q,v,up]", "recipe.max_steps=20")
    assert run_one(planned, store, settings).status == "done"
    folder = tmp_path / verb
    assert main([verb, planned.id, str(folder), f"runs={store.root}", f"cache={settings.cache}"]) == 0
    spec = parse(RunSpec, planned.spec, "run")
    loaded = load_model(spec.model, spec.dataset.task, Seeds(0), settings.cache)
    if verb == "export":
        loaded.processor.save_pretrained(tmp_path / "base")
        names = load_file(folder / "adapter_model.safetensors")
        assert names and all(".language_model." in name for name in names)
        model, processor = peft.PeftModel.from_pretrained(loaded.model, str(folder)).eval(), tmp_path / "base"
    else:
        model, processor = AutoModelForImageTextToText.from_pretrained(folder), folder
    rows = {str(i): row for i, row in enumerate(build(OPTIONS)["train"])}
    expected = {row["id"]: row["prediction"] for row in kept(store, planned).to_pylist()}
    asked = [rows[name.rpartition(":")[2]] for name in expected]
    texts = [f"<start_of_image>{row['question']} answer :" for row in asked]
    images = [[Image.open(io.BytesIO(row["image"]))] for row in asked]
    read = AutoProcessor.from_pretrained(processor)(
        images=images, text=texts, padding=True, padding_side="left", return_tensors="pt"
    )
    read.pop("num_crops", None)
    labels = spec.dataset.task.labels
    tokens = [loaded.processor.tokenizer.convert_tokens_to_ids(label) for label in labels]
    with torch.no_grad():
        logits = model(**read).logits[:, -1, tokens]
    assert [labels[i] for i in logits.argmax(-1)] == list(expected.values())
    assert len(set(expected.values())) > 1


@pytest.mark.parametrize("method", ["lora", "full", "cla"])
def test_the_cost_of_a_step_on_shapes_is_that_of_a_real_step_of_the_same_length(begin, method):
    planned, store, settings = begin(f"method={method}", "recipe.precision=float32", "recipe.evaluations=1")
    spec = parse(RunSpec, planned.spec, "run")
    record = run_one(planned, store, settings)
    loaded = load_model(spec.model, spec.dataset.task, Seeds(0), settings.cache)
    task = build_task(spec.dataset, loaded)
    length = max(len(task.encode(row)["input_ids"]) for row in build(OPTIONS)["train"])
    of_text = length - spec.model.config["mm_tokens_per_image"] - 4
    shortened = replace(spec.dataset, task=replace(spec.dataset.task, max_length=of_text))
    cost = step_cost(replace(spec, dataset=shortened))
    assert cost.why is None
    assert cost.flops == pytest.approx(record.work["flops_per_step"].value, rel=0.01)
    for role in ("weights", "adapter", "gradients", "optimizer"):
        assert cost.bytes[role] == pytest.approx(record.ledger[role].value, rel=0.01), role
    assert cost.bytes["saved_for_backward"] == pytest.approx(record.ledger["saved_for_backward"].value, rel=0.1)


def test_a_probe_of_a_model_that_reads_images_is_refused(capsys):
    assert main(["probe", "method=lora", "model=gemma3_micro"]) == 2
    assert "reads images, and a probe has none" in capsys.readouterr().err
