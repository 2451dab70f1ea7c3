"""`peftlab export` and `peftlab merge`: what a finished run leaves for peft and transformers alone, from its files."""

import json

import numpy as np
import peft
import pyarrow.parquet as pq
import pytest
import torch
from transformers import ViTForImageClassification

from harness.__main__ import main
from harness.cli.export import restored
from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.data.load import Encoder, load_data
from harness.ledger.parse import parse
from harness.ledger.seeds import Seeds
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store
from harness.models.load import load_model
from harness.planning.plan import plan_one, read_request
from harness.tasks.build import build as build_task
from harness.training.run import run_one

WORDS = ("model=vit_micro", "dataset=digits", "recipe.epochs=2", "tracker=none", "device=cpu")


@pytest.fixture
def done(tmp_path, peftlab_cache):
    """A finished run: its spec, store and settings."""

    def run(*words):
        request = read_request([*WORDS, f"runs={tmp_path / 'runs'}", f"cache={peftlab_cache}", *words])
        settings = settings_from(request.config)
        planned = plan_one(request, Resolver())
        assert run_one(planned, Store(settings.runs), settings).status == "done"
        return planned, Store(settings.runs), settings

    return run


def _pretrained(planned, settings):
    """What a stranger has: the pretrained model, and the run's test images."""
    spec = parse(RunSpec, planned.spec, "run")
    seeds = Seeds(spec.seed)
    torch.manual_seed(seeds.of("init", "model"))
    loaded = load_model(spec.model, spec.dataset.task, seeds, settings.cache)
    task = build_task(spec.dataset, loaded)
    data = load_data(spec.dataset, Encoder(task.encode, task.length, loaded.processor_key), settings.cache)
    batch = task.collate(list(data.test), None)
    return loaded.model, batch, spec.dataset.task.labels


def _predicted(model, batch, labels):
    grey = batch.inputs["pixel_values"]
    with torch.no_grad():
        logits = model.eval()(pixel_values=grey.expand(-1, model.config.num_channels, -1, -1)).logits
    return logits, dict(zip(batch.ids, np.array(labels)[logits.argmax(-1).numpy()], strict=True))


def _kept(planned, store):
    rows = pq.read_table(store.paths(planned.id).predictions).to_pylist()
    return {row["id"]: row["prediction"] for row in rows}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("method", ["lora", "r_c3la"])
def test_peft_alone_gives_the_runs_own_predictions(done, tmp_path, method):
    planned, store, settings = done(f"method={method}")
    assert main(["export", planned.id, str(tmp_path / "adapter"), f"runs={store.root}", f"cache={settings.cache}"]) == 0
    model, batch, labels = _pretrained(planned, settings)
    _, before = _predicted(model, batch, labels)
    adapted = peft.PeftModel.from_pretrained(model, str(tmp_path / "adapter"))
    _, after = _predicted(adapted, batch, labels)
    assert after == _kept(planned, store)
    assert after != before, "the adapter does something"


@pytest.mark.parametrize("method", ["cla"])
def test_transformers_alone_gives_the_runs_own_logits(done, tmp_path, method):
    planned, store, settings = done(f"method={method}")
    assert main(["merge", planned.id, str(tmp_path / "plain"), f"runs={store.root}", f"cache={settings.cache}"]) == 0
    _, batch, labels = _pretrained(planned, settings)
    logits, predictions = _predicted(ViTForImageClassification.from_pretrained(tmp_path / "plain"), batch, labels)
    own, _ = _predicted(restored(planned.id, settings)[0].model, batch, labels)
    assert (logits - own).abs().max() <= 1e-5 * own.abs().max()
    assert predictions == _kept(planned, store)


def test_what_cannot_be_exported_says_what_can_be_done(done, tmp_path, capsys):
    planned, store, settings = done("method=full", "keep=all", "recipe.max_steps=2", "recipe.evaluations=1")
    words = [str(tmp_path / "adapter"), f"runs={store.root}", f"cache={settings.cache}"]
    assert main(["export", planned.id, *words]) == 2
    assert f"peftlab merge {planned.id} DIR" in capsys.readouterr().err
    assert not (tmp_path / "adapter").exists(), "what is refused leaves nothing"
    assert main(["merge", planned.id, *words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"run": planned.id, "folder": words[0], "model": "ViTForImageClassification"}
    assert main(["merge", planned.id, *words]) == 2
    assert "is there already and is no empty folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "required: run, folder"),
        (["0" * 16, "FILE"], "is no empty folder"),
        (["0" * 16, "new", "--jsn"], "unknown flag '--jsn'"),
        (["../../etc", "new"], "no run begins so"),
    ],
)
def test_a_wrong_command_is_one_sentence_and_writes_nothing(tmp_path, capsys, words, sentence):
    (tmp_path / "FILE").write_text("mine")
    places = [str(tmp_path / word) if word in ("FILE", "new") else word for word in words]
    for verb in ("export", "merge"):
        assert main([verb, *places, f"runs={tmp_path / 'runs'}"]) == 2
        assert sentence in (said := capsys.readouterr().err) and said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["FILE"]


def test_a_failed_run_has_nothing_to_export(done, tmp_path, capsys):
    words = ["method=peft", "peft.rnak=1", "tracker=none", f"runs={tmp_path / 'runs'}", "device=cpu"]
    assert main(["run", *WORDS[:2], *words, "--json"]) == 1
    failed = json.loads(capsys.readouterr().out)["id"]
    assert main(["export", failed, str(tmp_path / "adapter"), f"runs={tmp_path / 'runs'}"]) == 2
    assert f"peftlab retry {failed} does it again" in capsys.readouterr().err


def test_a_run_that_kept_no_weights_or_is_not_there_is_one_sentence(done, tmp_path, capsys):
    planned, store, _ = done("method=lora", "keep=none", "recipe.max_steps=2", "recipe.evaluations=1")
    assert main(["export", planned.id, str(tmp_path / "adapter"), f"runs={store.root}"]) == 2
    assert "kept no weights" in capsys.readouterr().err
    assert main(["merge", "0" * 16, str(tmp_path / "plain"), f"runs={store.root}"]) == 2
    assert "no run begins so" in capsys.readouterr().err
    assert main(["merge", planned.id]) == 2
    assert "required: folder" in capsys.readouterr().err


def test_a_folder_says_its_labels_its_task_and_how_it_was_made(done, tmp_path):
    planned, store, settings = done("method=lora", "recipe.max_steps=2", "recipe.evaluations=1")
    words = [f"runs={store.root}", f"cache={settings.cache}"]
    assert main(["export", planned.id, str(tmp_path / "adapter"), *words]) == 0
    assert main(["merge", planned.id, str(tmp_path / "plain"), *words]) == 0
    adapter = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == str(tmp_path / "adapter" / "base_model")
    assert adapter["auto_mapping"]["base_model_class"] == "ViTForImageClassification"
    for folder in (tmp_path / "plain", tmp_path / "adapter" / "base_model"):
        config = json.loads((folder / "config.json").read_text())
        assert config["id2label"] == {str(n): str(n + 5) for n in range(5)}
    assert json.loads((tmp_path / "plain" / "task.json").read_text())["labels"] == ["5", "6", "7", "8", "9"]
    card = (tmp_path / "plain" / "README.md").read_text()
    score = store.read(planned.id).scores["test"]["accuracy"].value
    assert f"| {score:.4g} |" in card and planned.id in card and "LoRA, arXiv:2106.09685" in card


def test_a_killed_merge_leaves_no_half_of_a_folder(done, tmp_path, monkeypatch):
    planned, store, settings = done("method=lora", "recipe.max_steps=2", "recipe.evaluations=1")
    words = [str(tmp_path / "plain"), f"runs={store.root}", f"cache={settings.cache}"]
    monkeypatch.setattr("harness.models.portable.save_processor", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["merge", planned.id, *words])
    assert [path.name for path in tmp_path.iterdir() if path.name != "runs"] == []
