"""Lists taken apart into rows, and rows left out that lack a needed value: the card's `unnest` and `require`."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.config.resolve import Resolver
from harness.data.reshape import reshape
from harness.data.source import find_source
from harness.ledger.errors import DataError
from tests.data.cards import CLASSES, card, encoded
from tests.parts import part_of

GPT2 = part_of(Resolver(), "model", ("model=gpt2_small", "model.size=tiny")).spec
ROWS = [
    {"id": 7, "text": ["a good one", "a bad one"], "label": ["good", "bad"]},
    {"id": 8, "text": [], "label": []},
    {"id": 9, "text": ["fine"], "label": ["good"]},
    {"id": 10, "text": None, "label": None},
]


def table_of(rows) -> pa.Table:
    return pa.Table.from_pylist(rows)


def test_each_item_becomes_a_row_that_names_the_row_it_is_of(tmp_path):
    spec = card(tmp_path, unnest=["text", "label"])
    assert reshape(spec, table_of(ROWS)).to_pylist() == [
        {"id": 7, "text": "a good one", "label": "good", "row": 0},
        {"id": 7, "text": "a bad one", "label": "bad", "row": 0},
        {"id": 9, "text": "fine", "label": "good", "row": 2},
    ]


def test_many_rows_are_taken_apart_as_few_are(tmp_path):
    rows = [{"id": i, "text": [f"{i} {j}" for j in range(i % 4)]} for i in range(700)]
    made = reshape(card(tmp_path, unnest=["text"]), table_of(rows)).to_pylist()
    assert made == [{"id": i, "text": f"{i} {j}", "row": i} for i in range(700) for j in range(i % 4)]


def test_rows_without_a_needed_value_are_left_out_after_lists_were_taken_apart(tmp_path):
    rows = [{"text": ["x", None], "image": {"bytes": b"1"}}, {"text": ["y"], "image": None}]
    spec = card(tmp_path, unnest=["text"], require=["image", "text"])
    assert reshape(spec, table_of(rows)).to_pylist() == [{"text": "x", "image": {"bytes": b"1"}, "row": 0}]


def test_rows_of_one_list_stay_on_one_side_of_a_split(tmp_path):
    rows = [{"text": [f"{i} {j}" for j in range(3)], "label": ["good", "bad", "good"]} for i in range(40)]
    pq.write_table(table_of(rows), tmp_path / "train.parquet")
    spec = card(tmp_path, unnest=["text", "label"], split={"group": "row"})
    data, _ = encoded(spec, GPT2, tmp_path)
    tables, _ = find_source(spec).read()
    of_row = tables["train"]["row"].to_pylist()
    sides = [
        {of_row[int(row["id"].split(":")[1])] for row in part} for part in (data.train, data.validation, data.test)
    ]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 40
    assert len(data.train) + len(data.validation) + len(data.test) == 120


@pytest.mark.parametrize(
    ("changes", "rows", "sentence"),
    [
        ({"unnest": ["words"]}, ROWS, "dataset.unnest: there is no column 'words'; the data has id, text, label"),
        ({"require": ["words"]}, ROWS, "dataset.require: there is no column 'words'"),
        ({"unnest": ["id"]}, ROWS, "column 'id' holds int64 and no lists"),
        ({"unnest": ["text", "label"]}, [*ROWS, {"id": 1, "text": ["a"], "label": []}], "row 4: 'text' has 1 items"),
        ({"unnest": ["text"]}, [{"text": ["a"], "row": 1}], "adds a column 'row', and the data has one"),
    ],
)
def test_columns_that_do_not_allow_it_are_an_error(tmp_path, changes, rows, sentence):
    with pytest.raises(DataError, match=sentence):
        reshape(card(tmp_path, CLASSES, **changes), table_of(rows))


def test_a_card_without_these_keys_reads_its_rows_as_they_are(tmp_path):
    pq.write_table(table_of(ROWS), tmp_path / "train.parquet")
    tables, _ = find_source(card(tmp_path)).read()
    assert tables["train"].to_pylist() == ROWS
