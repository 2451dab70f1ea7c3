"""Test scores recomputed from predictions.parquet, and not by the code that wrote them.

What is counted (accuracy, F1, Matthews) is counted here: scikit-learn, which runs use, takes 8 ms a run and seconds
to import.
"""

import hashlib
import importlib.util
import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.checks.answers import anls, vqa_accuracy
from analysis.checks.evidence import Evidence
from analysis.checks.finding import Unproved
from harness.ledger.quantity import Measured

Rows = Mapping[str, NDArray[Any]]
Metric = Callable[[Rows, Evidence], float]
WEIGHTED = ("loss", "perplexity", "token_accuracy")  # their n is target tokens, not examples
_SAME = 1e-6
_NEEDS = {"bleu": "sacrebleu", "rouge_l": "rouge_score"}


def scores(run: Evidence) -> Iterator[str]:
    """Each test score of the record is the metric of the kept predictions, and of as many."""
    if not run.done:
        return
    rows = run.predictions
    if not len(rows["id"]):
        yield "predictions.parquet holds no prediction"
        return
    for name, quantity in run.record.scores["test"].items():
        if isinstance(quantity, Measured):
            yield from _score(run, rows, name, quantity)


def _score(run: Evidence, rows: Rows, name: str, quantity: Measured) -> Iterator[str]:
    n = int(rows["weight"].sum()) if name in WEIGHTED else len(rows["id"])
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
    ids = list(map(str, rows["id"]))
    if twice := len(ids) - len(set(ids)):
        yield f"{twice} rows of predictions.parquet are there twice"
    if len(ids) != split["n"]:
        yield f"predictions.parquet holds {len(ids)} examples, the test split {split['n']}"
    digest = hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:16]
    if digest != split["digest"]:
        yield f"predictions.parquet is of the examples {digest}, the test split is {split['digest']}"
    if not all(np.isfinite(rows[name].astype(float)).all() for name in ("score", "loss", "weight")):
        yield "predictions.parquet holds numbers that are not finite"


def probabilities(run: Evidence) -> Iterator[str]:
    """Of a classifier: loss is the target's -log p, and the predicted class is the target where p says so."""
    task = run.dataset.get("task") or {}
    if not run.done or "labels" not in task or task.get("kind") == "generation":
        return
    rows, classes, labels = run.predictions, len(task["labels"]), set(map(str, task["labels"]))
    named = zip(map(str, rows["target"]), map(str, rows["prediction"]), strict=True)
    if unknown := sum(not labels.issuperset(pair) for pair in named):
        yield f"{unknown} rows of predictions.parquet name a class that the dataset does not have"
    p, right = rows["score"].astype(float), rows["target"] == rows["prediction"]
    if (off := ~np.isclose(np.exp(-rows["loss"].astype(float)), p, rtol=1e-3, atol=1e-5)).any():
        yield f"{int(off.sum())} rows of predictions.parquet have a loss that is not -log of their probability"
    most = 1.0 if task.get("multi_label") else 0.5  # of several right classes, each may be less likely than a wrong one
    wrong = np.where(right, p < 1 / classes - 1e-3, p > most + 1e-3)
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


def _share_right(rows: Rows, run: Evidence) -> float:
    return float((rows["prediction"] == rows["target"]).mean())


def _loss(rows: Rows, run: Evidence) -> float:
    return float(rows["loss"].sum() / rows["weight"].sum())


def _perplexity(rows: Rows, run: Evidence) -> float:
    return math.exp(_loss(rows, run))


def _token_accuracy(rows: Rows, run: Evidence) -> float:
    return float(np.average(rows["score"], weights=rows["weight"]))


def _f1(rows: Rows, run: Evidence) -> float:
    """Of the last label of the card."""
    return _f1_of_classes(rows).get(str(run.dataset["task"]["labels"][-1]), 0.0)


def _f1_macro(rows: Rows, run: Evidence) -> float:
    """The mean over the classes that are a target or a prediction."""
    return float(np.mean(list(_f1_of_classes(rows).values())))


def _f1_of_classes(rows: Rows) -> dict[str, float]:
    classes, counts = _confusion(rows)
    f1 = 2 * np.diag(counts) / (counts.sum(axis=0) + counts.sum(axis=1))
    return dict(zip(classes, f1, strict=True))


def _matthews(rows: Rows, run: Evidence) -> float:
    """R_K of Gorodkin (2004), for any number of classes; 0 where all are one class."""
    counts = _confusion(rows)[1]
    n, right, targets, predictions = counts.sum(), np.trace(counts), counts.sum(axis=1), counts.sum(axis=0)
    spread = float(n**2 - predictions @ predictions) * float(n**2 - targets @ targets)
    return 0.0 if spread == 0 else float(right * n - targets @ predictions) / math.sqrt(spread)


def _confusion(rows: Rows) -> tuple[list[str], NDArray[np.int64]]:
    """(classes that occur, counts of target by prediction)."""
    texts = np.array([*map(str, rows["target"]), *map(str, rows["prediction"])], dtype=object)
    codes, classes = pd.factorize(texts)
    target, prediction = np.split(codes, 2)
    counts = np.bincount(target * len(classes) + prediction, minlength=len(classes) ** 2)
    return list(classes), counts.reshape(len(classes), -1)


def _correlation(name: str) -> Metric:
    def compute(rows: Rows, run: Evidence) -> float:
        a, b = rows["prediction"].astype(float), rows["target"].astype(float)
        constant = len(set(a)) < 2 or len(set(b)) < 2
        return 0.0 if constant else float(getattr(stats, name)(a, b).statistic)

    return compute


def _bleu(rows: Rows, run: Evidence) -> float:
    import sacrebleu

    return sacrebleu.corpus_bleu(list(rows["prediction"]), [list(rows["target"])]).score


def _rouge_l(rows: Rows, run: Evidence) -> float:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    pairs = zip(rows["target"], rows["prediction"], strict=True)
    return float(np.mean([scorer.score(target, written)["rougeL"].fmeasure for target, written in pairs]))


def _mean_over_rows(of_row: Callable[[str, list[str]], float]) -> Metric:
    """Of answers against all references of their rows, which are the target as a JSON list."""

    def compute(rows: Rows, run: Evidence) -> float:
        pairs = zip(rows["prediction"], rows["target"], strict=True)
        return float(np.mean([of_row(str(answer), json.loads(target)) for answer, target in pairs]))

    return compute


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
    "vqa_accuracy": _mean_over_rows(vqa_accuracy),
    "anls": _mean_over_rows(anls),
}
