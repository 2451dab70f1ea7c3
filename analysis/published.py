"""Published tables, and where a method, model or dataset of ours stands in them.

Beyond LoRA (arXiv:2606.13767), Tables 2 and 3, and LoRA-Squeeze (arXiv:2602.10993), Tables 1, 6, 7 and 8, as printed;
single values without spread or seed count (published/README.md).
"""

import unicodedata
from functools import cache
from pathlib import Path

import pandas as pd

_FOLDER = Path(__file__).with_name("published")
TABLES = {
    "table2": "beyond_lora_table2.csv",
    "table3": "beyond_lora_table3.csv",
    **{f"squeeze{number}": f"lora_squeeze_table{number}.csv" for number in (1, 6, 7, 8)},
}
_ALSO = {  # our config names -> the paper's names, both without case and punctuation
    "full": "fft",
    "fullfinetuning": "fft",
    "asymlora": "asym",
    "raclora": "rac",
    "loraplus": "lora+",
    "rcla": "rcla",
    "llama38b": "llama38b",
    "gpt2": "gpt2small",
    "deepseekcoder": "deepseekcoder1.3b",
    "obqa": "openbookqa",
    "gluecola": "cola",
    "trec50": "trec50",
    "debertav3base": "debertav3base",
    "debertav2xxl": "debertav2xxl",
    "cifar10": "cifar10",
}


@cache
def published(table: str) -> pd.DataFrame:
    """Columns model, dataset, method, metric, value of a name in TABLES."""
    return pd.read_csv(_FOLDER / TABLES[table])


@cache
def _lookup(table: str) -> dict[tuple[str, str, str], float]:
    rows = published(table)
    return {
        (key(r.model), key(r.dataset), key(r.method)): float(r.value)  # type: ignore[arg-type]
        for r in rows.itertuples()
    }


def published_value(
    table: str, model: tuple[str, ...], dataset: tuple[str, ...], method: tuple[str, ...]
) -> float | None:
    """The printed value of a cell, by any of the names that each of the three goes by; None where the
    paper has none.
    """
    known = _lookup(table)
    values = [known.get((key(a), key(b), key(c))) for a in model for b in dataset for c in method]
    return next((value for value in values if value is not None), None)


def key(name: str) -> str:
    """`c³LA` -> `c3la`, `LoRA+` -> `lora+`, `TREC-50` -> `trec50`: letters, digits, + and . only."""
    plain = unicodedata.normalize("NFKC", str(name)).lower()
    kept = "".join(c for c in plain if c.isalnum() or c in "+.")
    return _ALSO.get(kept, kept)
