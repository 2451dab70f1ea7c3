"""Any table, in any format, gives examples that hold its texts as they were, or a DataError and nothing else."""

import csv
import gzip
import io
import json
import shutil
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.config.resolve import Resolver
from harness.ledger.errors import DataError
from harness.models.tiny import tiny_tokenizer
from tests.data.cards import CLASSES, LANGUAGE, card, encoded
from tests.parts import part_of

GPT2 = part_of(Resolver(), "model", ("model=gpt2_small", "model.size=tiny")).spec
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["007", "NA", "true", "a\r\nb", '"']
)
ANY = st.one_of(TEXT, st.none(), st.booleans(), st.integers(-(10**25), 10**25), st.floats(), st.lists(TEXT, max_size=2))
LABELS = st.sampled_from(["bad", "good"]) | st.sampled_from([0, 1]) | st.sampled_from([None, "", 2, True, 1.0, ["bad"]])
FORMATS = ("csv", "tsv", "jsonl", "json", "csv.gz", "jsonl.gz", "parquet")
CACHE = Path(tempfile.mkdtemp(prefix="peftlab-any-table-"))


@pytest.fixture(scope="module", autouse=True)
def cache():
    yield
    shutil.rmtree(CACHE, ignore_errors=True)


def rows_of(texts, labels):
    """Tables with columns that are all of the given kinds."""
    row = st.fixed_dictionaries({"text": texts, "label": labels, "score": ANY}, optional={"out": TEXT})
    return st.lists(row, min_size=1, max_size=24)


def as_bytes(rows, kind: str) -> bytes:
    """The table in a format, written by others' writers."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if kind.startswith(("csv", "tsv")):
        file = io.StringIO(newline="")
        writer = csv.writer(file, delimiter="," if kind[0] == "c" else "\t")
        writer.writerows([names, *[[row.get(name) for name in names] for row in rows]])
        raw = file.getvalue().encode()
    elif kind == "json":
        raw = json.dumps(rows).encode()
    elif kind == "parquet":
        sink = io.BytesIO()
        pq.write_table(pa.table({name: pa.array([row.get(name) for row in rows]) for name in names}), sink)
        raw = sink.getvalue()
    else:
        raw = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    return gzip.compress(raw) if kind.endswith(".gz") else raw


def read(rows, kind: str, task, split) -> dict[str, str] | None:
    """What a model reads of each row, or None where a DataError says why not."""
    with tempfile.TemporaryDirectory(dir=CACHE) as place:
        try:
            (Path(place) / f"train.{kind}").write_bytes(as_bytes(rows, kind))
        except (pa.ArrowException, OverflowError):
            return None  # Parquet cannot hold it
        try:
            data, tokenizer = encoded(card(Path(place), task, split=split), GPT2, Path(place), CACHE)
        except DataError as error:
            assert str(error).startswith("dataset case: ") and "\n" not in str(error).strip()
            return None
    found = [row for split in (data.train, data.validation, data.test) for row in split]
    assert len(found) == len(rows) and all(row["target"] in (0, 1) for row in found if "target" in row)
    return {row["id"]: tokenizer.decode(row["input_ids"].tolist()) for row in found}


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(rows=rows_of(ANY, LABELS), kind=st.sampled_from(FORMATS), strata=st.sampled_from([[], ["label"], ["score"]]))
def test_any_table_is_read_or_refused(rows, kind, strata):
    read(rows, kind, CLASSES, {"stratify": strata})
    read(rows, kind, LANGUAGE, {"stratify": strata, "limit": {}})


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(
    rows=st.lists(
        st.fixed_dictionaries({"text": TEXT, "label": st.sampled_from(["bad", "good"])}), min_size=9, max_size=20
    ),
    kind=st.sampled_from(FORMATS),
)
def test_texts_come_back_as_they_were_written(rows, kind):
    tokenizer = tiny_tokenizer(GPT2, CACHE)
    found = read(rows, kind, CLASSES | {"max_length": 1000}, {})
    assert found is not None
    for i, row in enumerate(rows):
        whole = tokenizer.decode(tokenizer(f"{row['text']}\nGood?").input_ids)
        assert found[f"train:{i}"] == whole == f"{row['text']}\nGood?"
