"""Whole runs at size=tiny: every family, kind of task and method of the study; scores redone from the predictions."""

import pyarrow.parquet as pq
import pytest

from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.ledger.quantity import Measured
from harness.ledger.store import Store
from harness.planning.plan import plan_one, read_request
from harness.training.run import run_one
from tests.redone import redone

RESOLVER = Resolver()
# method, model, dataset: each method, each model of the study and each kind of task at least once
RUNS = [
    ("full", "vit_tiny", "digits"),
    ("lora", "vit_base", "digits"),
    ("lora_plus", "roberta_base", "kinship"),
    ("asym", "roberta_large", "stdlib_docs"),
    ("cola", "deberta_v3_base", "kinship_hops"),
    ("rac", "deberta_v2_xxl", "kinship"),
    ("cla", "gpt2_small", "kinship_lm"),
    ("r_cla", "tinyllama", "kinship"),
    ("c3la", "llama3_8b", "kinship_choice"),
    ("r_c3la", "deepseek_coder_1_3b", "kinship_written"),
    ("paca", "tinyllama", "kinship_lm"),
    ("lora", "gemma3_1b", "kinship_choice"),
    ("cla", "gemma3_4b", "kinship"),
    ("rac", "gemma3_12b", "kinship_written"),
    ("cola", "gemma3_4b_vl", "shapes_vqa"),
]


@pytest.mark.long
@pytest.mark.parametrize(("method", "model", "dataset"), RUNS)
def test_every_family_trains_at_size_tiny_and_its_scores_follow_from_its_predictions(
    tmp_path, peftlab_cache, method, model, dataset
):
    words = [f"method={method}", f"model={model}", "size=tiny", f"dataset={dataset}", "recipe=tiny", "tracker=none"]
    words.append("dataset.split.limit={train: 96, validation: 48, test: 96}")
    request = read_request([*words, "device=cpu", f"runs={tmp_path}", f"cache={peftlab_cache}"])
    settings = settings_from(request.config)
    planned, store = plan_one(request, RESOLVER), Store(settings.runs)
    record = run_one(planned, store, settings)
    assert record.status == "done", record.failure
    rows = pq.read_table(store.paths(planned.id).predictions).to_pydict()
    independent = redone(rows)
    for name, measured in record.scores["test"].items():
        assert isinstance(measured, Measured)
        assert measured.value == pytest.approx(independent[name], abs=1e-6, rel=1e-5), name
    assert len(rows["id"]) == record.data["splits"]["test"]["n"]
    assert record.parameters["trainable"].value > 0
