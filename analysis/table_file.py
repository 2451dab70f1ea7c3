"""Anybody's table of results as rows model, dataset, method, metric, value: long or wide, CSV (comma, semicolon or
tab), Markdown or LaTeX, numbers as people print them.
"""

import csv
import re
from pathlib import Path

import pandas as pd

from analysis.latex_rows import latex_rows
from harness.ledger.errors import RecordError

NEEDED = ("model", "dataset", "method", "metric", "value")
_HOLES = {"", "–", "—", "-", "n/a", "na"}
_SPREAD = re.compile(r"\s*(±|\+/-|\\pm)(?P<spread>.*)$")


def read_rows(path: Path, metric: str = "") -> pd.DataFrame:
    """The rows as text, each with as many fields as the header; `metric` names what a wide table holds.

    Raises RecordError for a file that is no table, and for a row with another number of fields, by its line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: cannot be read ({error}). It needs the columns {', '.join(NEEDED)}.") from error
    numbered = [(i, line) for i, line in enumerate(lines, 1) if line.strip()]
    while numbered and numbered[0][1].startswith("#"):  # a comment before the header, and nowhere else
        numbered = numbered[1:]
    if not numbered:
        raise RecordError(f"{path}: cannot be read as CSV (it is empty). It needs the columns {', '.join(NEEDED)}.")
    (_, header), *body = _parsed(numbered)
    for i, fields in body:
        if len(fields) != len(header):
            raise RecordError(
                f"{path}, line {i}: {len(fields)} fields, expected {len(header)} fields as in the header."
            )
    table = pd.DataFrame(
        [fields for _, fields in body], columns=[name.lower() if name.lower() in NEEDED else name for name in header]
    )
    return table if "value" in table or not metric else _long(table, metric, path)


def plain_number(text: str) -> str:
    """`**70.8 ± 0.3**` and `70.8%` as `70.8`; a dash for "no value" as the empty text."""
    bare = _SPREAD.sub("", text.strip().strip("*_$").strip()).strip().strip("*_").removesuffix("%").removesuffix("\\")
    return "" if bare.lower() in _HOLES else bare.strip().replace("−", "-")


def plain_spread(text: str) -> str:
    """`0.3` of `**70.8 ± 0.3**` and of `70.8 \\pm 0.3`; the empty text where no spread is given."""
    bare = text.strip().strip("*_$").strip()
    given = _SPREAD.search(bare)
    return "" if given is None else given["spread"].strip().strip("*_$}{% ").removesuffix("\\")


def _parsed(numbered: list[tuple[int, str]]) -> list[tuple[int, list[str]]]:
    """(line number, fields) of each row, the header first."""
    if rows := latex_rows(numbered) if any("\\\\" in line for _, line in numbered) else []:
        return rows
    separator = _separator(numbered[0][1])
    return [(i, _fields(line, separator)) for i, line in numbered if not re.fullmatch(r"[|:\s-]*-[|:\s-]*", line)]


def _separator(header: str) -> str:
    return "|" if header.lstrip().startswith("|") else max(",;\t", key=header.count)


def _fields(line: str, separator: str) -> list[str]:
    text = line.strip().strip("|") if separator == "|" else line
    return [field.strip() for field in next(csv.reader([text], delimiter=separator))]


def _long(table: pd.DataFrame, metric: str, path: Path) -> pd.DataFrame:
    """A wide table: a row per method with a column per dataset, or a row per dataset with a column per method."""
    columns = "dataset" if "method" in table else "method"
    known = [name for name in ("model", "dataset", "method") if name in table]
    if not {"dataset", "method"} & set(known) or {"dataset", "method"} <= set(known):
        raise RecordError(
            f"{path}: a wide table has a column `method` or a column `dataset`; it has {', '.join(table)}."
        )
    long = table.melt(known, var_name=columns, value_name="value").assign(metric=metric)
    return long if "model" in long else long.assign(model="all")
