"""Records of earlier versions, as this version means them: one small function a version, applied when a record is read.

The file itself is never edited. A change of what a record says is one more function here, and a new RECORD_VERSION.
"""

from collections.abc import Callable, Mapping
from typing import Any

from harness.ledger.errors import RecordVersionError

RECORD_VERSION = 3  # of what a record says (its `schema`); ids know nothing of it
Raw = Mapping[str, Any]


def migrated(raw: Raw) -> Raw:
    """A record's JSON of any version up to this one, as a record of this version.

    Raises RecordVersionError for a newer version or none; KeyError, TypeError or AttributeError for a wrong shape.
    """
    version = raw.get("schema")
    if type(version) is not int or version < 1:
        raise RecordVersionError(
            f"record {raw.get('id')}: {version!r} is no version of a record; delete it to run again."
        )
    if version > RECORD_VERSION:
        raise RecordVersionError(
            f"record {raw.get('id')}: version {version} is of a newer peftlab, this one reads up to {RECORD_VERSION}; "
            "it is left out here. Update peftlab to read it."
        )
    for number in range(version, RECORD_VERSION):
        raw = {**_FROM[number](raw), "schema": number + 1}
    return raw


def _truncated(raw: Raw) -> Raw:
    """The share of rows that lost words is `truncated` in `data.splits`; version 1 called it `shortened`."""
    splits = {
        split: {"truncated" if key == "shortened" else key: fact for key, fact in facts.items()}
        for split, facts in raw["data"].get("splits", {}).items()
    }
    return {**raw, "data": {**raw["data"], "splits": splits}} if splits else raw


def _contention(raw: Raw) -> Raw:
    """Whether a run had its processor to itself is counted since version 3, and not known of earlier runs.

    Earlier ledgers are of whichever batch came first, and earlier first runs of a worker hold its one-off set-up.
    """
    return {**raw, "contention": {}}


_FROM: Mapping[int, Callable[[Raw], Raw]] = {1: _truncated, 2: _contention}
