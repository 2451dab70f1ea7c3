"""Test scores recomputed from predictions.parquet, by scikit-learn and scipy and not by the code that wrote them."""

import hashlib
import importlib.util
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.checks.evidence import Evidence
from analysis.checks.finding import Unproved
from harness.ledger.quantity import Measured

Metric = Callable[[pd.DataFrame, Evidence], float]
WEIGHTED = ("loss", "perplexity", "token_accuracy")  # their n is target tokens, not examples
_SAME = 1e-6
_NEEDS = {"bleu": "sacrebleu", "rouge_l": "rouge_score"}


def scores(run: Evidence) -> Iterator[str]:
    """Each test score of the record is the metric of the kept predictions, and of as many."""
    if not run.done:
        return
    rows = run.predictions
    if rows.empty:
        yield "predictions.parquet holds no prediction"
        return
    for name, quantity in run.record.scores["test"].items():
        if isinstance(quantity, Measured):
            yield from _score(run, rows, name, quantity)


def _score(run: Evidence, rows: pd.DataFrame, name: str, quantity: Measured) -> Iterator[str]:
    n = int(rows["weight"].sum()) if name in WEIGHTED else len(rows)
    if quantity.n != n:
        yield f"test {name} is of n = {quantity.n}, and predictions.parquet holds {n}"
    recomputed = metric(name)(rows, run)
    if not math.isclose(quantity.value, recomputed, rel_tol=_SAME, abs_tol=_SAME):
        yield f"test {name} is {quantity.value:.6g} in the record and {recomputed:.6g} by predictions.parquet"


def test_rows(run: Evidence) -> Iterator[str]:
    """The kept predictions are of the test split that the record describes, each row once, with finite numbers."""
    if not run.done:
        return
    rows, split = run.predictions, run.split("test")
    if (twice := int(rows["id"].duplicated().sum())) > 0:
        yield f"{twice} rows of predictions.parquet are there twice"
    if len(rows) != split["n"]:
        yield f"predictions.parquet holds {len(rows)} examples, the test split {split['n']}"
    digest = hashlib.sha256("\n".join(sorted(map(str, rows["id"]))).encode()).hexdigest()[:16]
    if digest != split["digest"]:
        yield f"predictions.parquet is of the examples {digest}, the test split is {split['digest']}"
    if not np.isfinite(rows[["score", "loss", "weight"]].to_numpy(float)).all():
        yield "predictions.parquet holds numbers that are not finite"


def probabilities(run: Evidence) -> Iterator[str]:
    """Of a classifier: loss is the target's -log p, and the predicted class is the target where p says so."""
    task = run.dataset.get("task") or {}
    if not run.done or "labels" not in task or task.get("kind") == "generation":
        return
    rows, classes = run.predictions, len(task["labels"])
    unknown = ~rows[["target", "prediction"]].astype(str).isin(list(map(str, task["labels"]))).all(axis=1)
    if unknown.any():
        yield f"{int(unknown.sum())} rows of predictions.parquet name a class that the dataset does not have"
    p, right = rows["score"].to_numpy(float), (rows["target"] == rows["prediction"]).to_numpy()
    if (off := ~np.isclose(np.exp(-rows["loss"].to_numpy(float)), p, rtol=1e-3, atol=1e-5)).any():
        yield f"{int(off.sum())} rows of predictions.parquet have a loss that is not -log of their probability"
    wrong = np.where(right, p < 1 / classes - 1e-3, p > 0.5 + 1e-3)
    if wrong.any():
        yield f"{int(wrong.sum())} rows of predictions.parquet predict another class than their probability says"


def metric(name: str) -> Metric:
    """The function that recomputes a metric; raises Unproved for one that cannot be recomputed here."""
    if name not in _METRICS:
        raise Unproved(f"metric {name} is none that can be recomputed")
    package = _NEEDS.get(name)
    if package is not None and importlib.util.find_spec(package) is None:
        raise Unproved(f"metric {name} needs the package {package}")
    return _METRICS[name]


def _share_right(rows: pd.DataFrame, run: Evidence) -> float:
    return float((rows["prediction"] == rows["target"]).mean())


def _loss(rows: pd.DataFrame, run: Evidence) -> float:
    return float(rows["loss"].sum() / rows["weight"].sum())


def _perplexity(rows: pd.DataFrame, run: Evidence) -> float:
    return math.exp(_loss(rows, run))


def _token_accuracy(rows: pd.DataFrame, run: Evidence) -> float:
    return float(np.average(rows["score"], weights=rows["weight"]))


def _f1(rows: pd.DataFrame, run: Evidence) -> float:
    positive = str(run.dataset["task"]["labels"][-1])
    return _sklearn("f1_score", rows, labels=[positive], average="macro", zero_division=0)


def _f1_macro(rows: pd.DataFrame, run: Evidence) -> float:
    return _sklearn("f1_score", rows, average="macro", zero_division=0)


def _matthews(rows: pd.DataFrame, run: Evidence) -> float:
    return _sklearn("matthews_corrcoef", rows)


def _sklearn(name: str, rows: pd.DataFrame, **options: Any) -> float:
    import sklearn.metrics  # seconds in a fresh process, and needed by an audit only

    return float(getattr(sklearn.metrics, name)(rows["target"].astype(str), rows["prediction"].astype(str), **options))


def _correlation(name: str) -> Metric:
    def compute(rows: pd.DataFrame, run: Evidence) -> float:
        a, b = rows["prediction"].to_numpy(float), rows["target"].to_numpy(float)
        constant = len(set(a)) < 2 or len(set(b)) < 2
        return 0.0 if constant else float(getattr(stats, name)(a, b).statistic)

    return compute


def _bleu(rows: pd.DataFrame, run: Evidence) -> float:
    import sacrebleu

    return sacrebleu.corpus_bleu(list(rows["prediction"]), [list(rows["target"])]).score


def _rouge_l(rows: pd.DataFrame, run: Evidence) -> float:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    pairs = zip(rows["target"], rows["prediction"], strict=True)
    return float(np.mean([scorer.score(target, written)["rougeL"].fmeasure for target, written in pairs]))


_METRICS: dict[str, Metric] = {
    "accuracy": _share_right,
    "exact_match": _share_right,
    "loss": _loss,
    "perplexity": _perplexity,
    "token_accuracy": _token_accuracy,
    "f1": _f1,
    "f1_macro": _f1_macro,
    "matthews": _matthews,
    "pearson": _correlation("pearsonr"),
    "spearman": _correlation("spearmanr"),
    "bleu": _bleu,
    "rouge_l": _rouge_l,
}
