"""Which row goes where: a rule of hashes, never of the run's seed (study, §3.1: S1 to S5).

Rows are ordered by SHA-256(rule version, split seed, data, config, source split, row key); a held-out part is a prefix
of that order, in equal shares of every stratum, and leaves at least one row of each stratum behind.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from harness.data.fields import as_number, column_values
from harness.ledger.dataset_spec import DatasetSpec, HubData, SplitSpec
from harness.ledger.errors import DataError

RULE = "1"  # a change of this file's rule is a new number, and every held-out row may move
SPLIT_SEED = "peftlab"
_REAL = re.compile(r".*[.eE].*")  # the text of a number that is not whole
BINS = 10  # strata of a column of real numbers: its deciles


@dataclass(frozen=True)
class SplitRows:
    """Some rows of one upstream split, in their order there."""

    source: str
    rows: tuple[int, ...]


def divide(spec: DatasetSpec, tables: Mapping[str, pa.Table]) -> dict[str, SplitRows]:
    """train, validation and test as row numbers of upstream splits; raises DataError when a named split is absent."""
    split = spec.split
    _check(split)
    for wanted in (split.train, split.validation, split.test):
        if wanted is not None and wanted not in tables:
            raise DataError(f"dataset {spec.name}: the source has no split '{wanted}'; it has {', '.join(tables)}.")
    total = tables[split.train].num_rows
    train = list(range(total))
    parts: dict[str, SplitRows] = {}
    if split.test is None:
        parts["test"] = _held_out(spec, tables, split.train, train, round(split.test_share * total))
        train = _without(train, parts["test"].rows)
    else:
        parts["test"] = SplitRows(split.test, tuple(range(tables[split.test].num_rows)))
    if split.validation is None:
        parts["validation"] = _held_out(spec, tables, split.train, train, round(split.share * total))
        train = _without(train, parts["validation"].rows)
    elif split.validation == split.test:
        rows = parts["test"].rows
        parts["validation"] = _held_out(spec, tables, split.validation, rows, round(split.share * len(rows)))
        parts["test"] = SplitRows(split.validation, tuple(_without(rows, parts["validation"].rows)))
    else:
        parts["validation"] = SplitRows(split.validation, tuple(range(tables[split.validation].num_rows)))
    parts["train"] = SplitRows(split.train, tuple(train))
    return {name: _limited(spec, tables, name, parts[name]) for name in ("train", "validation", "test")}


def _check(split: SplitSpec) -> None:
    if split.group is not None and split.stratify:
        raise DataError("split: groups are held out whole and strata in shares; give either group or stratify: [].")
    for name, count in split.limit.items():
        if name not in ("train", "validation", "test") or count < 1:
            raise DataError(f"split.limit: {name}: {count} is not a number of rows of train, validation or test.")


def row_keys(split: SplitSpec, source: str, table: pa.Table) -> list[str]:
    """`<upstream split>:<upstream id or row number>` for each row; raises DataError when upstream ids repeat."""
    if split.key is None:
        return [f"{source}:{row}" for row in range(table.num_rows)]
    keys = [f"{source}:{value}" for value in _identities(table, split.key, source)]
    if len(set(keys)) < len(keys):
        raise DataError(
            f"split.key: the values of '{split.key}' repeat in {source}; name a column with unique ids, or null."
        )
    return keys


def digest(keys: Iterable[str]) -> str:
    """Of the sorted row keys: the same rows, the same digest."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()[:16]


def _held_out(
    spec: DatasetSpec, tables: Mapping[str, pa.Table], source: str, rows: Sequence[int], count: int
) -> SplitRows:
    """About `count` of the `rows` of a source split; exactly so where there are no groups and classes are large."""
    table = tables[source]
    keys = row_keys(spec.split, source, table)
    if spec.split.group is not None:
        groups = [str(value) for value in _identities(table, spec.split.group, source)]
        return SplitRows(source, _whole_groups(spec, source, rows, groups, count))
    strata = _strata(table, spec.split.stratify)
    members: dict[Any, list[int]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: _hash(spec, source, keys[row])):
        members[strata[row]].append(row)
    quotas = _quotas({stratum: len(of_stratum) for stratum, of_stratum in members.items()}, count)
    return SplitRows(
        source, tuple(sorted(row for stratum, of_stratum in members.items() for row in of_stratum[: quotas[stratum]]))
    )


def _whole_groups(
    spec: DatasetSpec, source: str, rows: Sequence[int], groups: list[str], count: int
) -> tuple[int, ...]:
    members: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        members[groups[row]].append(row)
    held: list[int] = []
    for group in sorted(members, key=lambda group: _hash(spec, source, group)):
        if len(held) >= count:
            break
        held += members[group]
    return tuple(sorted(held))


def _quotas(sizes: Mapping[Any, int], count: int) -> dict[Any, int]:
    """`count` shared in proportion (largest remainders), at most size - 1 of each stratum."""
    total = sum(sizes.values())
    exact = {stratum: min(count * size / total, size - 1) for stratum, size in sizes.items()}
    quotas = {stratum: int(share) for stratum, share in exact.items()}
    order = sorted(sizes, key=lambda stratum: (quotas[stratum] - exact[stratum], str(stratum)))
    left = min(count, total - len(sizes)) - sum(quotas.values())
    while left > 0:
        for stratum in order:
            if left > 0 and quotas[stratum] < sizes[stratum] - 1:
                quotas[stratum] += 1
                left -= 1
    return quotas


def _strata(table: pa.Table, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    values = [_deciles(_single(column_values(table, name), name)) for name in columns]
    return list(zip(*values, strict=True)) if values else [()] * table.num_rows


def _deciles(values: list[Any]) -> list[Any]:
    """Real numbers, also as the text of a CSV file, by their decile; rows without one are a stratum of their own."""
    numbers = [as_number(value) for value in values]
    known = sorted(number for number in numbers if number is not None)
    names = any(
        number is None and isinstance(value, str) and value for value, number in zip(values, numbers, strict=True)
    )
    if names or not any(
        isinstance(value, float) or (isinstance(value, str) and _REAL.fullmatch(value)) for value in values
    ):
        return values
    edges = [known[len(known) * i // BINS] for i in range(1, BINS)] if known else []
    return [None if number is None else sum(number >= edge for edge in edges) for number in numbers]


def _identities(table: pa.Table, path: str, source: str) -> list[Any]:
    """Values that name rows or groups: each is there, and is one text or number."""
    values = _single(column_values(table, path), path)
    if None in values:
        raise DataError(f"row {source}:{values.index(None)}: '{path}' is empty; ids and groups must be there.")
    return values


def _single(values: list[Any], path: str) -> list[Any]:
    for row, value in enumerate(values):
        if isinstance(value, list | dict):
            raise DataError(f"row {row}: '{path}' holds {value!r}; splits need a column of single values.")
    return values


def _limited(spec: DatasetSpec, tables: Mapping[str, pa.Table], name: str, part: SplitRows) -> SplitRows:
    """The first `limit` rows in the order of the hash, so that a larger limit only adds rows."""
    if not part.rows:
        raise DataError(f"{name} has no rows: {part.source} has {tables[part.source].num_rows}; correct dataset.split.")
    count = spec.split.limit.get(name)
    if count is None or count >= len(part.rows):
        return part
    keys = row_keys(spec.split, part.source, tables[part.source])
    order = sorted(part.rows, key=lambda row: _hash(spec, part.source, keys[row]))
    return SplitRows(part.source, tuple(sorted(order[:count])))


def _hash(spec: DatasetSpec, source: str, key: str) -> bytes:
    hub = spec.source if isinstance(spec.source, HubData) else None
    words = (RULE, SPLIT_SEED, hub.id if hub else spec.name, (hub.config if hub else None) or "", source, key)
    return hashlib.sha256("\x1f".join(words).encode()).digest()


def _without(rows: Iterable[int], held: Iterable[int]) -> list[int]:
    gone = set(held)
    return [row for row in rows if row not in gone]
