"""Every metric against an independent implementation, on random inputs; no network anywhere."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from harness.ledger.errors import SpecError
from harness.tasks.scores import METRICS, check_metrics, score
from harness.tasks.task import Prediction

CLASSES = ["cat", "dog", "eel", "fox"]


def classified(seed: int, n: int = 97, classes: int = 4) -> list[Prediction]:
    rng = random.Random(seed)
    pairs = [(rng.choice(CLASSES[:classes]), rng.choice(CLASSES[:classes])) for _ in range(n)]
    return [
        Prediction(str(i), t, t if rng.random() < 0.4 else p, 0.5, rng.random(), 1) for i, (t, p) in enumerate(pairs)
    ]


def numbers(seed: int, n: int = 60) -> list[Prediction]:
    rng = np.random.default_rng(seed)
    x = np.round(rng.normal(size=n), 1)  # rounded, so that there are ties
    y = np.round(x + rng.normal(size=n), 1)
    return [Prediction(str(i), float(a), float(b), float(b), 0.1, 1) for i, (a, b) in enumerate(zip(x, y, strict=True))]


def sides(found: list[Prediction]) -> tuple[list, list]:
    return [p.target for p in found], [p.prediction for p in found]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("classes", [2, 4])
def test_classification_metrics_equal_those_of_scikit_learn(seed, classes):
    found = classified(seed, classes=classes)
    true, said = sides(found)
    ours = score(found, ("accuracy", "f1", "f1_macro", "matthews"), positive="dog")
    assert ours["accuracy"].value == pytest.approx(sk.accuracy_score(true, said))
    assert ours["matthews"].value == pytest.approx(sk.matthews_corrcoef(true, said))
    assert ours["f1_macro"].value == pytest.approx(sk.f1_score(true, said, average="macro"))
    assert ours["f1"].value == pytest.approx(sk.f1_score(true, said, labels=["dog"], average="macro"))
    assert ours["loss"].value == pytest.approx(sum(p.loss for p in found) / len(found))
    assert {name: found.n for name, found in ours.items()} == dict.fromkeys(ours, 97)


@pytest.mark.parametrize("seed", range(4))
def test_correlations_equal_those_of_scipy_with_ties(seed):
    found = numbers(seed)
    true, said = sides(found)
    ours = score(found, ("pearson", "spearman"))
    assert ours["pearson"].value == pytest.approx(stats.pearsonr(true, said).statistic)
    assert ours["spearman"].value == pytest.approx(stats.spearmanr(true, said).statistic)


def test_a_constant_answer_scores_no_correlation():
    found = [Prediction(str(i), float(i), 2.0, 2.0, 1.0, 1) for i in range(9)]
    assert score(found, ("pearson", "spearman"))["pearson"].value == 0.0
    same = [Prediction(p.id, p.target, "cat", 0.5, 1.0, 1) for p in classified(0)]
    assert score(same, ("matthews",))["matthews"].value == 0.0


def test_perplexity_and_token_accuracy_weigh_tokens_and_not_examples():
    found = [Prediction("a", "x", "x", 1.0, 0.0, 1), Prediction("b", "y y y", "y z z", 1 / 3, 6.0, 3)]
    ours = score(found, ("perplexity", "token_accuracy", "exact_match"))
    assert ours["perplexity"].value == pytest.approx(math.exp(6.0 / 4))
    assert ours["token_accuracy"].value == pytest.approx(2 / 4)
    assert ours["exact_match"].value == 0.5
    assert (ours["perplexity"].n, ours["exact_match"].n, ours["loss"].n) == (4, 2, 4)


def test_text_metrics_equal_a_computation_by_hand():
    found = [
        Prediction("a", "the cat sat on the mat", "the cat sat on the mat", 1.0, 1.0, 6),
        Prediction("b", "a dog barks at the moon", "a dog sings", 0.0, 1.0, 6),
    ]
    ours = score(found, ("bleu", "rouge_l"))
    # corpus BLEU: clipped n-gram counts of both texts; 9 words written for 12
    matched, written = [6 + 2, 5 + 1, 4 + 0, 3 + 0], [6 + 3, 5 + 2, 4 + 1, 3 + 0]
    precision = math.exp(sum(math.log(m / w) for m, w in zip(matched, written, strict=True)) / 4)
    assert ours["bleu"].value == pytest.approx(100 * precision * math.exp(1 - 12 / 9))
    # ROUGE-L: longest common subsequence "a dog", 2 of 3 written and 2 of 6 wanted words
    p, r = 2 / 3, 2 / 6
    assert ours["rouge_l"].value == pytest.approx((1 + 2 * p * r / (p + r)) / 2)


def test_a_metric_that_cannot_be_computed_is_one_sentence_before_any_training(monkeypatch):
    with pytest.raises(SpecError, match="Did you mean 'accuracy'"):
        check_metrics("acuracy", ("acuracy",))
    with pytest.raises(SpecError, match="'f1' is not among"):
        check_metrics("f1", ("accuracy",))
    check_metrics("bleu", ("bleu", "rouge_l"))
    monkeypatch.setitem(METRICS, "bleu", replace(METRICS["bleu"], needs="no_such_package_here"))
    with pytest.raises(SpecError, match=r"pip install 'peftlab\[generation\]'"):
        check_metrics("bleu", ("bleu",))


def test_every_metric_of_the_table_is_an_evaluate_metric():
    import evaluate

    from harness.tasks import metrics as module

    assert all(issubclass(getattr(module, kind.cls), evaluate.Metric) for kind in METRICS.values())
