"""Paired answers on the test set, from predictions on disk."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import answers as kept
from analysis.examples import on_examples
from analysis.load import load
from analysis.tables.examples import examples_table
from harness.ledger.errors import RecordError
from harness.ledger.quantity import Measured
from harness.ledger.store import Store
from tests.rewrite import rewrite

BLOCK = "Minilm / MRPC"


@pytest.fixture
def answers(written: Callable[..., Path]) -> Callable[..., tuple[Path, dict[str, np.ndarray]]]:
    """Writes predictions of LoRA and cLA for some seeds; returns the runs folder and who was right."""

    def write(seeds: tuple[int, ...]) -> tuple[Path, dict[str, np.ndarray]]:
        runs = written(methods=("lora", "cla"), blocks=(("minilm", "mrpc"),), seeds=seeds)
        rng, right = np.random.default_rng(0), {}
        for row in load("tiny", runs).rows.itertuples():
            good = rng.uniform(size=200) < {"LoRA": 0.8, "cLA": 0.6}[str(row.label)]
            right[f"{row.label} {row.seed}"] = good
            order = rng.permutation(200)  # the file's order is nobody's business
            table = pd.DataFrame({"id": [f"x{i:03d}" for i in range(200)], "target": "yes"})
            table["prediction"] = np.where(good, "yes", "no")
            table = table.assign(score=np.where(good, 0.9, 0.1), loss=-np.log(np.where(good, 0.9, 0.1)), weight=1)
            table.iloc[order].to_parquet(runs / str(row.id) / "predictions.parquet", index=False)
            record = Store(runs).read(str(row.id))
            test = {
                "accuracy": Measured(float(good.mean()), "", 200),
                "loss": Measured(float(table["loss"].mean()), "nats", 200),
            }
            rewrite(runs, replace(record, scores={**record.scores, "test": test}))
        return runs, right

    return write


def test_one_seed_is_mcnemar(answers) -> None:
    runs, right = answers((0,))
    found = on_examples(load("tiny", runs), BLOCK, "cLA", np.random.default_rng(1))
    a, b = right["cLA 0"], right["LoRA 0"]
    assert found.mcnemar[0] == pytest.approx(stats.binomtest(int((a & ~b).sum()), int((a != b).sum())).pvalue)
    assert found.difference.mean == pytest.approx(a.mean() - b.mean())
    assert (found.examples, found.seeds) == (200, (0,))


def test_one_seed_is_examples_only_and_says_so(answers) -> None:
    table = examples_table(load("tiny", answers((0,))[0]), reps=200)
    assert table is not None and table.rows[0][3].text.endswith("(1: examples only)")


def test_several_seeds_enter_together(answers) -> None:
    runs, right = answers((0, 1, 2))
    found = on_examples(load("tiny", runs), BLOCK, "cLA", np.random.default_rng(1))
    by_hand = np.mean([right[f"cLA {s}"].mean() - right[f"LoRA {s}"].mean() for s in (0, 1, 2)])
    assert found.difference.mean == pytest.approx(by_hand)
    assert found.difference.low < by_hand < found.difference.high
    assert len(found.mcnemar) == 3


def test_other_examples_are_refused(answers) -> None:
    runs, _ = answers((0,))
    path = next(runs.glob("*/predictions.parquet"))
    pd.read_parquet(path).replace({"id": {"x000": "y000"}}).to_parquet(path, index=False)
    with pytest.raises(RecordError, match="other examples"):
        on_examples(load("tiny", runs), BLOCK, "cLA", np.random.default_rng(1))


def test_a_run_without_predictions_is_named(answers) -> None:
    runs, _ = answers((0,))
    next(runs.glob("*/predictions.parquet")).unlink()
    with pytest.raises(RecordError, match="kept no predictions"):
        on_examples(load("tiny", runs), BLOCK, "cLA", np.random.default_rng(1))


def test_predictions_that_are_damaged_are_named(answers) -> None:
    runs, _ = answers((0,))
    next(runs.glob("*/predictions.parquet")).write_bytes(b"no parquet")
    with pytest.raises(RecordError, match=r"the record cannot be true.*predictions\.parquet"):
        load("tiny", runs)


def test_the_second_read_opens_no_predictions(answers, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, right = answers((0, 1, 2))
    first = on_examples(load("tiny", runs), BLOCK, "cLA", np.random.default_rng(1))
    monkeypatch.setattr(kept, "_read", lambda *facts: pytest.fail(f"opened {facts}"))
    assert on_examples(load("tiny", runs), BLOCK, "cLA", np.random.default_rng(1)) == first
    assert first.difference.mean == pytest.approx(
        np.mean([right[f"cLA {s}"].mean() - right[f"LoRA {s}"].mean() for s in range(3)])
    )


def test_the_table_has_a_row_for_every_method_and_says_what_cannot_be_paired(answers) -> None:
    runs, right = answers((0, 1))
    table = examples_table(load("tiny", runs), np.random.default_rng(1))
    assert table is not None
    (row,) = table.rows
    points = 100 * np.mean([right[f"cLA {s}"].mean() - right[f"LoRA {s}"].mean() for s in (0, 1)])
    assert (row[1].text, row[2].text) == ("cLA", "200")
    assert row[3].value == pytest.approx(points)
    assert row[4].text == "< .05 in 2 of 2"
    next(runs.glob("*/predictions.parquet")).unlink()
    table = examples_table(load("tiny", runs), np.random.default_rng(1))
    assert table is not None and "kept no predictions" in table.rows[0][3].why


def test_without_predictions_there_is_no_table(written) -> None:
    assert examples_table(load("tiny", written()), np.random.default_rng(1)) is None
