"""Scores are recomputed as scikit-learn computes them, from files that are read once, and a proof is kept."""

import importlib.util
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as some
from sklearn import metrics

from analysis.checks import proofs
from analysis.checks.evidence import read_evidence
from analysis.checks.run import check_evidence
from analysis.checks.scores import metric
from analysis.load import load
from analysis.tables.coverage import means_of_blocks
from harness.ledger.plan import read_plan

HONEST = Path(__file__).with_name("honest_runs")
LABELS = ["a", "b", "c"]
answers = some.lists(some.tuples(some.sampled_from(LABELS), some.sampled_from(LABELS)), min_size=1, max_size=40)


@given(answers)
@pytest.mark.filterwarnings("ignore:A single label was found")
def test_counted_scores_are_those_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    target, prediction = (np.array(side, dtype=object) for side in zip(*pairs, strict=True))
    rows = {"target": target, "prediction": prediction}
    run: Any = SimpleNamespace(dataset={"task": {"labels": LABELS}})
    f1 = {"average": "macro", "zero_division": 0}
    expected = {
        "f1": metrics.f1_score(target, prediction, labels=["c"], **f1),
        "f1_macro": metrics.f1_score(target, prediction, **f1),
        "matthews": metrics.matthews_corrcoef(target, prediction),
        "accuracy": metrics.accuracy_score(target, prediction),
    }
    for name, score in expected.items():
        assert metric(name)(rows, run) == pytest.approx(score, abs=1e-12), name


def test_predictions_are_read_once_for_every_check(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    read = pq.ParquetFile.read
    monkeypatch.setattr(pq.ParquetFile, "read", lambda file, **options: opened.append(file) or read(file, **options))
    for folder in sorted(HONEST.iterdir()):
        assert check_evidence(read_evidence(folder)) == ()
    assert len(opened) == len(list(HONEST.iterdir()))


def test_a_kept_proof_opens_no_file_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(HONEST, runs)
    ids = [folder.name for folder in HONEST.iterdir()]
    checked = []
    check = proofs._checked
    monkeypatch.setattr(proofs, "_checked", lambda runs, run, stamp: checked.append(run) or check(runs, run, stamp))
    first = proofs.prove(runs, ids, "kept")
    assert sorted(checked) == sorted(ids)
    assert proofs.prove(runs, ids, "kept") == first
    (runs / ids[0] / "predictions.parquet").unlink()
    proofs.prove(runs, ids, "kept")
    assert checked[len(ids) :] == ids[:1]


def test_the_records_of_the_benchmark_have_no_finding_and_make_tables(tmp_path: Path) -> None:
    path = Path(__file__).parents[2] / "benchmarks" / "analysis.py"
    spec = importlib.util.spec_from_file_location("benchmark", path)
    assert spec is not None and spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    benchmark.write(tmp_path, 240)  # seed 0 of every cell, seed 1 of 20: a mean is over the seeds that are planned
    assert len(read_plan(tmp_path, "bench").ids) == len(list(tmp_path.glob("*/record.json"))) == 240
    assert proofs.prove(tmp_path, read_plan(tmp_path, "bench").ids, "bench") == ()
    frame = load("bench", tmp_path)
    means = means_of_blocks(frame)
    assert means.shape == (20, 11) and means.notna().all(axis=None)
    block, method = frame.blocks[0], frame.methods[0]
    assert means.loc[block, method] == pytest.approx(frame.cell(block, method)["shown"].mean())
    assert len(frame.cell(block, method)) == 2
