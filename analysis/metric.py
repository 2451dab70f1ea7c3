"""How a metric is shown, and which way is better.

Refuses to guess the direction of a metric it does not know: a wrong guess turns a ranking round.
"""

import math
import re
from dataclasses import dataclass

from harness.ledger.errors import RecordError, nearest

_SHARES = (
    "accuracy",
    "f1",
    "matthews",
    "mcc",
    "pearson",
    "spearman",
    "exact_match",
    "token_accuracy",
    "recall",
    "precision",
    "vqa_accuracy",
    "anls",
)
_MORE_IS_BETTER = {
    *(*_SHARES, "acc", "em", "f1_macro", "f1_micro", "auc", "auroc", "bleu", "rouge", "rouge_l", "rougel", "rouge_1"),
    *("rouge_2", "rouge1", "rouge2", "meteor", "cider", "score", "throughput", "samples_per_s", "tokens_per_s"),
}
_LESS_IS_BETTER = {
    *("perplexity", "ppl", "loss", "nll", "error", "error_rate", "mse", "rmse", "mae", "wer", "cer"),
    *("generalization_error", "generalization_error_g_w", "empirical_generalization_error_g_w"),
    *("time", "seconds", "latency", "memory", "peak_memory", "bytes", "flops", "parameters"),
}
_DECORATION = {"test", "val", "validation", "eval", "mean", "avg", "pct", "percent", "x100", "100"}


@dataclass(frozen=True)
class Shown:
    """A metric as a table prints it: value · `factor` in `unit`, with `digits` decimals."""

    name: str
    factor: float
    unit: str
    digits: int

    @property
    def axis(self) -> str:
        """The label of an axis or a head: `accuracy (%)`."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def in_points(self) -> bool:
        """True for a share shown on a scale of 100, where "one point" means something."""
        return self.unit in ("%", "×100")


def shown(metric: str, unit: str = "") -> Shown:
    """Shares in [0, 1] are shown as percent (Matthews and Pearson times 100, as the papers print them)."""
    is_share = any(metric.lower().startswith(word) for word in _SHARES)
    if is_share and unit in ("", "1", "share", "fraction", "ratio", "correlation", metric):
        percent = metric.lower().startswith(("matthews", "mcc", "pearson", "spearman"))
        return Shown(metric, 100.0, "×100" if percent else "%", 2)
    return Shown(metric, 1.0, "" if unit in ("", "1", metric) else unit, 2 if unit == "%" else 3)


def direction(metric: str) -> str:
    """ "max" or "min" for the name of a known metric, whatever says split, mean or percent around it.

    Raises RecordError for any other name: `memory_recall` is no memory.
    """
    words = [word for word in re.split(r"[^a-z0-9]+", metric.lower()) if word and word not in _DECORATION]
    name = "_".join(words)
    if name in _LESS_IS_BETTER:
        return "min"
    if name in _MORE_IS_BETTER:
        return "max"
    raise RecordError(
        f"metric '{metric}': is higher or lower better? Pass --direction max or --direction min, or add a column "
        f"`direction`.{nearest(name, {*_MORE_IS_BETTER, *_LESS_IS_BETTER})}"
    )


def number(value: float, digits: int) -> str:
    """Fixed decimals with a true minus sign; "–" for what is not finite."""
    if not math.isfinite(value):
        return "–"
    return f"{value:.{digits}f}".replace("-", "−")


def scientific(value: float) -> str:
    """Three significant digits: 2.25, 9.55e−3 (the study's Table 3 style)."""
    if not math.isfinite(value):
        return "–"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.2e}".replace("e-0", "e-").replace("-", "−")
