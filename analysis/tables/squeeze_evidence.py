"""How strong LoRA-Squeeze's printed tables are: differences over tasks, of single values without seeds."""

import pandas as pd

from analysis.published import published
from analysis.stats.differences import Spread, spread
from analysis.table import Table
from analysis.tables.differences import spread_table

# table -> (first, second): the second had as many training steps as the first, or is what the paper holds it against
_PAIRS = {
    "squeeze1": (("In-minimum", "Direct"), ("In-standard", "Direct"), ("Cont +200", "Direct +200"),
                 ("Cont +700", "Direct +700"), ("Cont +0", "Direct")),
    "squeeze8": (("In-minimum", "Direct"), ("In-standard", "Direct"), ("Cont +200", "Direct +200"),
                 ("Cont +700", "Direct +700"), ("Cont +0", "Direct")),
}  # fmt: skip
_GAIN = " over "


def squeeze_evidence() -> Table:
    """Every claim of Tables 1, 6 and 8 over its tasks: mean, median, standard error, and the mean without the task
    that carries most of it."""
    pairs = [*_of_scores("squeeze1"), *_of_gains("squeeze6"), *_of_scores("squeeze8")]
    return spread_table("squeeze-evidence", "LoRA-Squeeze: printed differences over tasks, in points", pairs)


def _of_scores(which: str) -> list[tuple[str, str, Spread]]:
    wide = _tasks(which).pivot(index="dataset", columns="method", values="value")
    return [_named(which, a, b, wide[a] - wide[b]) for a, b in _PAIRS[which]]


def _of_gains(which: str) -> list[tuple[str, str, Spread]]:
    """Of a table that prints differences."""
    table = _tasks(which)
    return [_named(which, *name.split(_GAIN), part.set_index("dataset")["value"]) for name, part in _by_method(table)]


def _by_method(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(str(name), part) for name, part in table.groupby("method", sort=False)]


def _tasks(which: str) -> pd.DataFrame:
    table = published(which)
    return table[table["dataset"] != "Average"]


def _named(which: str, first: str, second: str, difference: pd.Series) -> tuple[str, str, Spread]:
    number = which.removeprefix("squeeze")
    return f"Table {number}: {first}", second, spread(difference.to_numpy(), list(map(str, difference.index)))
