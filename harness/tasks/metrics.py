"""The metrics, as `evaluate.Metric` subclasses that need no network; over all examples, never batch by batch.

Importing this file imports `evaluate` (seconds in a fresh process): only `harness.tasks.scores` does so.
References are what the data says, predictions what the model says.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef


class _Metric(evaluate.Metric):
    """In memory and offline; `FEATURES` names what `compute` takes."""

    FEATURES: Mapping[str, str] = {"predictions": "string", "references": "string"}

    def __init__(self) -> None:
        super().__init__(keep_in_memory=True)

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features({name: datasets.Value(kind) for name, kind in self.FEATURES.items()})
        return evaluate.MetricInfo(description=type(self).__doc__ or "", citation="", features=features)

    def _download_and_prepare(self, dl_manager: Any) -> None:
        """Nothing to fetch."""


class Accuracy(_Metric):
    """Share of predictions that equal their reference."""

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        return {"accuracy": float(accuracy_score(references, predictions))}


class F1(_Metric):
    """Harmonic mean of precision and recall of the class `positive`; 0 where both are 0."""

    def _compute(self, predictions: Sequence[str], references: Sequence[str], positive: str) -> dict[str, float]:
        return {"f1": _f1(predictions, references, labels=[positive])}


class F1Macro(_Metric):
    """Mean F1 over all classes that occur among references or predictions."""

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        return {"f1_macro": _f1(predictions, references, labels=None)}


class Matthews(_Metric):
    """Matthews correlation for any number of classes (Gorodkin 2004, R_K); 0 where it is not defined."""

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        return {"matthews": float(matthews_corrcoef(references, predictions))}


class _Numbers(_Metric):
    FEATURES = {"predictions": "float64", "references": "float64"}


class Pearson(_Numbers):
    """Linear correlation; 0 where a side is constant."""

    def _compute(self, predictions: Sequence[float], references: Sequence[float]) -> dict[str, float]:
        return {"pearson": _correlation(stats.pearsonr, predictions, references)}


class Spearman(_Numbers):
    """Correlation of ranks, ties at their mean rank; 0 where a side is constant."""

    def _compute(self, predictions: Sequence[float], references: Sequence[float]) -> dict[str, float]:
        return {"spearman": _correlation(stats.spearmanr, predictions, references)}


class _Weighted(_Metric):
    FEATURES = {"values": "float64", "weights": "float64"}


class Perplexity(_Weighted):
    """exp(total loss / total target tokens); `values` are summed losses in nats."""

    def _compute(self, values: Sequence[float], weights: Sequence[float]) -> dict[str, float]:
        return {"perplexity": float(np.exp(np.sum(values) / np.sum(weights)))}


class TokenAccuracy(_Weighted):
    """Share of target tokens that are the most likely one, each given the true tokens before it."""

    def _compute(self, values: Sequence[float], weights: Sequence[float]) -> dict[str, float]:
        return {"token_accuracy": float(np.average(values, weights=weights))}


class ExactMatch(_Metric):
    """Share of predictions that equal their reference, character by character."""

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        return {"exact_match": float(accuracy_score(references, predictions))}


class Bleu(_Metric):
    """Corpus BLEU, 0 to 100, as sacrebleu computes it by default; one reference an example."""

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        import sacrebleu

        return {"bleu": sacrebleu.corpus_bleu(list(predictions), [list(references)]).score}


class RougeL(_Metric):
    """Mean ROUGE-L F-measure, 0 to 1, as Google's rouge-score computes it, with stemming."""

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer(["rougeL"], use_stemmer=True)
        scores = [scorer.score(r, p)["rougeL"].fmeasure for p, r in zip(predictions, references, strict=True)]
        return {"rouge_l": float(np.mean(scores))}


class _Mean(_Metric):
    FEATURES = {"values": "float64"}


class VqaAccuracy(_Mean):
    """Mean over examples of VQA accuracy, 0 to 1 (`harness.tasks.answers`)."""

    def _compute(self, values: Sequence[float]) -> dict[str, float]:
        return {"vqa_accuracy": float(np.mean(values))}


class Anls(_Mean):
    """Mean over examples of the normalised Levenshtein similarity, 0 to 1 (`harness.tasks.answers`)."""

    def _compute(self, values: Sequence[float]) -> dict[str, float]:
        return {"anls": float(np.mean(values))}


def _f1(predictions: Sequence[str], references: Sequence[str], labels: list[str] | None) -> float:
    absent: Any = 0  # the stubs of scikit-learn know only "warn"
    return float(f1_score(references, predictions, labels=labels, average="macro", zero_division=absent))


def _correlation(test: Callable[..., Any], predictions: Sequence[float], references: Sequence[float]) -> float:
    """scipy's, and 0 where a side is constant, which scipy calls undefined."""
    if len(set(predictions)) < 2 or len(set(references)) < 2:
        return 0.0
    return float(test(predictions, references).statistic)
