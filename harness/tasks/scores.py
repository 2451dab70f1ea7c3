"""From the predictions of a split to the metrics that a card names, as anyone can redo from predictions.parquet."""

import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.ledger.errors import SpecError, nearest
from harness.ledger.quantity import Measured
from harness.tasks.answers import anls, vqa_accuracy
from harness.tasks.task import Prediction


@dataclass(frozen=True)
class MetricSpec:
    """A metric's class in `harness.tasks.metrics`, its unit, and what it is given."""

    cls: str
    unit: str
    inputs: Callable[[Sequence[Prediction]], dict[str, list[Any]]]
    needs: str | None = None  # a package of the extra "generation"


def _compared(predictions: Sequence[Prediction]) -> dict[str, list[Any]]:
    return {"predictions": [p.prediction for p in predictions], "references": [p.target for p in predictions]}


def _losses(predictions: Sequence[Prediction]) -> dict[str, list[Any]]:
    return {"values": [p.loss for p in predictions], "weights": [p.weight for p in predictions]}


def _scores(predictions: Sequence[Prediction]) -> dict[str, list[Any]]:
    return {"values": [p.score for p in predictions], "weights": [p.weight for p in predictions]}


def _rows(metric: Callable[[str, Sequence[str]], float]) -> Callable[[Sequence[Prediction]], dict[str, list[Any]]]:
    """Each row's answer against its references, which are its target as a JSON list."""
    return lambda predictions: {"values": [metric(str(p.prediction), json.loads(str(p.target))) for p in predictions]}


METRICS: Mapping[str, MetricSpec] = {
    "accuracy": MetricSpec("Accuracy", "share", _compared),
    "f1": MetricSpec("F1", "share", _compared),
    "f1_macro": MetricSpec("F1Macro", "share", _compared),
    "matthews": MetricSpec("Matthews", "correlation", _compared),
    "pearson": MetricSpec("Pearson", "correlation", _compared),
    "spearman": MetricSpec("Spearman", "correlation", _compared),
    "perplexity": MetricSpec("Perplexity", "perplexity", _losses),
    "token_accuracy": MetricSpec("TokenAccuracy", "share", _scores),
    "exact_match": MetricSpec("ExactMatch", "share", _compared),
    "bleu": MetricSpec("Bleu", "BLEU", _compared, needs="sacrebleu"),
    "rouge_l": MetricSpec("RougeL", "share", _compared, needs="rouge_score"),
    "vqa_accuracy": MetricSpec("VqaAccuracy", "share", _rows(vqa_accuracy)),
    "anls": MetricSpec("Anls", "share", _rows(anls)),
}
ROW_SCORES: Mapping[str, Callable[[str, Sequence[str]], float]] = {"vqa_accuracy": vqa_accuracy, "anls": anls}


def check_metrics(primary: str, names: Sequence[str]) -> None:
    """Before anything is trained: raises SpecError for a metric that is unknown or whose package is not installed."""
    if primary not in names:
        raise SpecError(f"dataset.metric: '{primary}' is not among dataset.metrics ({', '.join(names)}).")
    for name in names:
        if name not in METRICS:
            raise SpecError(f"dataset.metrics: unknown metric '{name}'.{nearest(name, METRICS)}")
        package = METRICS[name].needs
        if package is not None and importlib.util.find_spec(package) is None:
            raise SpecError(f"metric {name} needs the package {package}; run: pip install 'peftlab[generation]'")


def score(predictions: Sequence[Prediction], metrics: Sequence[str], *, positive: str = "") -> dict[str, Measured]:
    """Every metric of the card, and "loss" in nats per unit of weight; `positive` is the class that f1 is of."""
    from harness.tasks import metrics as module

    weight = sum(p.weight for p in predictions)
    scores = {"loss": Measured(sum(p.loss for p in predictions) / weight, "nats", weight)}
    for name in metrics:
        kind = METRICS[name]
        extra = {"positive": positive} if name == "f1" else {}
        value = getattr(module, kind.cls)().compute(**kind.inputs(predictions), **extra)[name]
        n = weight if "weights" in getattr(module, kind.cls).FEATURES else len(predictions)
        scores[name] = Measured(float(value), kind.unit, n)
    return scores
