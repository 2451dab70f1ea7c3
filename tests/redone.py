"""Every metric once more, from predictions.parquet alone and by other libraries than the harness's own."""

import math

import numpy as np
from scipy import stats
from sklearn import metrics as sk


def redone(rows: dict[str, list], positive: str = "") -> dict[str, float]:
    """Every metric that the rows allow; `f1` is of the class `positive`."""
    true, said, weights = rows["target"], rows["prediction"], np.asarray(rows["weight"])
    found = {
        "loss": sum(rows["loss"]) / weights.sum(),
        "perplexity": math.exp(min(sum(rows["loss"]) / weights.sum(), 700)),
        "token_accuracy": np.average(rows["score"], weights=weights),
        "exact_match": float(np.mean([a == b for a, b in zip(true, said, strict=True)])),
    }
    if isinstance(true[0], float):
        return found | {"pearson": stats.pearsonr(true, said)[0], "spearman": stats.spearmanr(true, said)[0]}
    if positive in true:
        found["f1"] = sk.f1_score(true, said, labels=[positive], average="macro")
    return found | {
        "accuracy": sk.accuracy_score(true, said),
        "f1_macro": sk.f1_score(true, said, average="macro"),
        "matthews": sk.matthews_corrcoef(true, said),
    }
