"""What `export` and `merge` write answers as the run did, by the libraries alone, in a process without our code."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from harness.__main__ import main
from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.data.source import find_source
from harness.data.splits import divide, row_keys
from harness.ledger.parse import parse
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store
from harness.models.minilm import model_dir
from harness.planning.plan import plan_one, read_request
from harness.tasks.prompt import whole
from harness.training.run import run_one
from tests.fruit import write_fruit

pytestmark = [pytest.mark.slow, pytest.mark.long]

SMALL = "+dataset.split.limit={train: 60}"
RUNS = {
    "an encoder's classes": ("method=lora", "model=minilm", "dataset=fruit"),
    "a decoder's classes": ("method=lora", "model=gpt2_small", "size=tiny", "dataset=fruit"),
    "a number for a pair": ("method=cla", "model=roberta_base", "size=tiny", "dataset=kinship_hops", SMALL),
    "a grey image": ("method=cla", "model=vit_micro", "dataset=digits", SMALL),
    "an image of a size of its own": (
        "method=lora",
        "model=vit_base",
        "size=tiny",
        "dataset=digits",
        SMALL,
        "+dataset.task.image_size=16",
    ),
    "a written answer": ("method=lora", "model=tinyllama", "size=tiny", "dataset=kinship_written", SMALL),
}
QUESTIONS = 6


@pytest.fixture(scope="module")
def answers(tmp_path_factory, peftlab_cache):
    """By kind of run: its own predictions, then the answers of adapter and merged model to the same questions."""
    place, asked, own = tmp_path_factory.mktemp("plain"), [], {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PEFTLAB_CONF", str(write_fruit(place)))
        for number, (kind, words) in enumerate(RUNS.items()):
            spec, run_id, rows = finished(place, peftlab_cache, words)
            questions, own[kind] = _questions(spec, rows, place / str(number))
            for verb in ("export", "merge"):
                folder = place / f"{number}-{verb}"
                where = [f"runs={place / 'runs'}", f"cache={peftlab_cache}"]
                assert main([verb, run_id, str(folder), *where]) == 0
                asked.append([str(folder), questions])
            _put_base_models(place / f"{number}-export")
    (place / "asked.json").write_text(json.dumps(asked))
    client = [sys.executable, "-I", str(Path(__file__).with_name("plain_client.py")), str(place / "asked.json")]
    said = subprocess.run(client, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr[-3000:]
    given = json.loads(said.stdout.splitlines()[-1])
    return {kind: (own[kind], given[2 * n], given[2 * n + 1]) for n, kind in enumerate(RUNS)}, place


def finished(place, cache, words):
    more = ["recipe=tiny", "tracker=none", "device=cpu", f"runs={place / 'runs'}", f"cache={cache}"]
    request = read_request([*words, *more])
    settings, planned = settings_from(request.config), plan_one(request, Resolver())
    store = Store(settings.runs)
    assert run_one(planned, store, settings).status == "done"
    rows = pq.read_table(store.paths(planned.id).predictions).to_pylist()[:QUESTIONS]
    return parse(RunSpec, planned.spec, "run"), planned.id, {row["id"]: row["prediction"] for row in rows}


def _questions(spec, predictions, place):
    """What is asked, as a client has it, and what the run predicted."""
    tables, _ = find_source(spec.dataset).read()
    part = divide(spec.dataset, tables)["test"]
    table = tables[part.source]
    keys = [str(key) for key in row_keys(spec.dataset.split, part.source, table)]
    found = {key: table.slice(keys.index(key), 1).to_pylist()[0] for key in predictions}
    place.mkdir()
    return [_question(spec, row, place / f"{n}.png") for n, row in enumerate(found.values())], list(
        predictions.values()
    )


def _question(spec, row, file):
    task = spec.dataset.task
    if task.kind == "image_classification":
        file.write_bytes(row[task.image]["bytes"] if isinstance(row[task.image], dict) else row[task.image])
        Image.open(file).verify()
        return str(file)
    if spec.model.kind == "decoder":
        return whole(task.prompt, row)
    return {key: row[column] for key, column in zip(("text", "text_pair"), task.text, strict=False)}


def _put_base_models(folder):
    """A hub's model as a folder of its name, where the client is: transformers looks there first."""
    if not (folder / "base_model").exists():
        (folder / "sentence-transformers").mkdir()
        (folder / "sentence-transformers" / "all-MiniLM-L6-v2").symlink_to(model_dir())


def _said(answer):
    first = answer[0] if isinstance(answer, list) else answer
    return first["generated_text"].strip() if "generated_text" in first else first["label"]


@pytest.mark.parametrize("kind", [kind for kind in RUNS if kind != "a number for a pair"])
def test_adapter_and_merged_model_answer_in_the_runs_own_words(answers, kind):
    own, adapter, merged = answers[0][kind]
    assert [_said(answer) for answer in adapter] == own
    assert [_said(answer) for answer in merged] == own
    assert len(own) == QUESTIONS


def test_a_regression_answers_with_its_number(answers):
    own, adapter, merged = answers[0]["a number for a pair"]
    for given in (adapter, merged):
        numbers = [(answer[0] if isinstance(answer, list) else answer)["score"] for answer in given]
        assert numbers == pytest.approx([float(value) for value in own], abs=1e-4)
