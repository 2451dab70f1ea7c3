"""The metrics, as `evaluate.Metric` subclasses that need no network; over all examples, never batch by batch.

Importing this file imports `evaluate` (seconds in a fresh process): only `harness.tasks.scores` does so.
References are what the data says, predictions what the model says.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np


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
        return {"accuracy": float(np.mean(np.asarray(predictions) == np.asarray(references)))}


class F1(_Metric):
    """Harmonic mean of precision and recall of the class `positive`; 0 where both are 0."""

    def _compute(self, predictions: Sequence[str], references: Sequence[str], positive: str) -> dict[str, float]:
        return {"f1": _f1(predictions, references, positive)}


class F1Macro(_Metric):
    """Mean F1 over all classes that occur among references or predictions."""

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        classes = sorted({*predictions, *references})  # in one order, so that the mean is the same to the last bit
        return {"f1_macro": float(np.mean([_f1(predictions, references, name) for name in classes]))}


class Matthews(_Metric):
    """Matthews correlation for any number of classes (Gorodkin 2004, R_K); 0 where it is not defined."""

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        said, true = Counter(predictions), Counter(references)
        right = sum(p == r for p, r in zip(predictions, references, strict=True))
        n = len(predictions)
        across = right * n - sum(said[name] * true[name] for name in true)
        spread = (n**2 - sum(count**2 for count in said.values())) * (n**2 - sum(count**2 for count in true.values()))
        return {"matthews": across / spread**0.5 if spread else 0.0}


class _Numbers(_Metric):
    FEATURES = {"predictions": "float64", "references": "float64"}


class Pearson(_Numbers):
    """Linear correlation; 0 where a side is constant."""

    def _compute(self, predictions: Sequence[float], references: Sequence[float]) -> dict[str, float]:
        return {"pearson": _correlation(np.asarray(predictions), np.asarray(references))}


class Spearman(_Numbers):
    """Correlation of ranks, ties at their mean rank; 0 where a side is constant."""

    def _compute(self, predictions: Sequence[float], references: Sequence[float]) -> dict[str, float]:
        return {"spearman": _correlation(_ranks(np.asarray(predictions)), _ranks(np.asarray(references)))}


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
        return {"exact_match": float(np.mean([p == r for p, r in zip(predictions, references, strict=True)]))}


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
        found = [scorer.score(r, p)["rougeL"].fmeasure for p, r in zip(predictions, references, strict=True)]
        return {"rouge_l": float(np.mean(found))}


def _f1(predictions: Sequence[str], references: Sequence[str], name: str) -> float:
    pairs = Counter((p == name, r == name) for p, r in zip(predictions, references, strict=True))
    both, either = pairs[True, True], pairs[True, False] + pairs[False, True]
    return 2 * both / (2 * both + either) if both + either else 0.0


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(), y - y.mean()
    spread = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / spread if spread > 0 else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + 1 + last) / 2)[place]
