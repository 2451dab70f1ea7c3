"""Score against adapter size: a line per variant, each point with its interval; a rank is a point and no variant."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.figures.size import size_data
from harness.ledger.plan import Plan, Planned, write_plan
from harness.ledger.quantity import Measured
from harness.ledger.record import Record
from harness.ledger.store import Store

RANKS = (1, 2, 8)


def score(kind: str, rank: int, seed: int) -> float:
    return 0.7 + 0.01 * rank + (0.03 if kind == "asym" else 0.0) + 0.002 * seed


def sized(record: Record, adapter: int) -> Record:
    """The record of an adapter of so many parameters, and a head."""
    trained = adapter + 390
    counts = {"adapter": adapter, "trainable": trained}
    held = {"adapter": 4 * adapter, "gradients": 4 * trained, "optimizer": 8 * trained}
    return replace(
        record,
        parameters={**record.parameters, **{name: Measured(float(n), "count", 1) for name, n in counts.items()}},
        ledger={**record.ledger, **{name: Measured(float(n), "bytes", 1) for name, n in held.items()}},
    )


@pytest.fixture
def frame(study_records: Callable[..., Record], tmp_path: Path) -> analysis.Frame:
    """Two methods at three ranks, and full fine-tuning, which has no adapter; three seeds."""
    store, planned = Store(tmp_path), []
    cells = [(kind, rank, seed) for kind in ("lora", "asym") for rank in RANKS for seed in range(3)]
    for kind, rank, seed in [*cells, *(("full", 0, seed) for seed in range(3))]:
        record = study_records(kind, "minilm", "trec50", seed)
        name = hashlib.sha256(f"{kind} {rank} {seed}".encode()).hexdigest()[:16]
        test = {"accuracy": score(kind, rank, seed), "loss": 0.4 + 0.001 * rank + 0.01 * seed}
        test = {**record.scores["test"], **{metric: Measured(value, "", 500) for metric, value in test.items()}}
        record = replace(record, id=name, scores={**record.scores, "test": test})
        record = sized(record, 256 * rank) if rank else record
        choices = {"method": kind, "model": "minilm", "dataset": "trec50", "recipe": "default", "seed": seed}
        size = {"method.update.rank": rank, "recipe.lr": 0.01 / (rank + 1)} if rank else {}
        planned.append(Planned(name, choices | size, record.spec))
        store.paths(name).folder.mkdir(parents=True)
        store.write(record)
    write_plan(tmp_path, Plan("sizes", tuple(planned), (), {"control": "lora"}))
    return analysis.load("sizes", tmp_path)


def test_a_variant_has_a_point_for_each_of_its_sizes_with_the_range_of_its_seeds(frame: analysis.Frame) -> None:
    data = size_data(frame)
    assert list(zip(data["variant"], data["parameters"], strict=True)) == [
        (variant, 256.0 * rank) for variant in ("Asym-LoRA", "LoRA") for rank in RANKS
    ]
    row = data[(data["variant"] == "LoRA") & (data["parameters"] == 512)].iloc[0]
    values = 100 * np.array([score("lora", 2, seed) for seed in range(3)])
    assert row["mean"] == pytest.approx(values.mean()) and row["n"] == 3
    assert (row["low"], row["high"]) == pytest.approx((values.min(), values.max()))


def test_the_picture_tells_its_numbers_and_leaves_out_what_has_no_adapter(frame: analysis.Frame) -> None:
    picture = analysis.size_curves(frame)
    assert picture is not None
    assert "LoRA: 71.20 with 256, 72.20 with 512, 78.20 with 2,048" in picture.alt
    assert "Full" not in picture.alt and "<svg" in picture.svg
    axis = picture.figure.axes[0]
    lines = {tuple(line.get_ydata()) for line in axis.get_lines() if len(line.get_xdata()) == 3}
    assert tuple(picture.data[picture.data["variant"] == "LoRA"]["mean"]) in lines


def test_without_an_adapter_there_is_no_picture(study_writer: Callable[..., object], tmp_path: Path) -> None:
    study_writer(tmp_path, methods=("full", "head"))
    assert analysis.size_curves(analysis.load("tiny", tmp_path)) is None


def test_one_setting_is_a_point_and_other_settings_are_variants(frame: analysis.Frame) -> None:
    rows = frame.rows.drop_duplicates("method")
    assert set(rows["variant"]) == {"Asym-LoRA", "LoRA", "Full fine-tuning"}
    assert isinstance(rows, pd.DataFrame) and rows["label"].nunique() == 7
