"""Class numbers and class names: decided once for a column, and never by guessing."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.config.resolve import Resolver
from harness.data.classes import class_names
from harness.ledger.errors import DataError
from tests.data.cards import CLASSES, card, encoded
from tests.parts import part_of

GPT2 = part_of(Resolver(), "model", ("model=gpt2_small", "model.size=tiny")).spec
STARS = ["1", "2", "3", "4", "5"]


def named(values, labels, aliases=None) -> list[str]:
    names = class_names(values, labels, aliases or {})
    return [names[f"{type(value).__name__} {value!r}"] for value in values]


@pytest.mark.parametrize(
    ("values", "labels", "aliases", "names"),
    [
        ([1, 2, 3, 4, 5], STARS, {}, STARS),
        ([0, 1, 2, 3, 4], STARS, {str(i): str(i + 1) for i in range(5)}, STARS),
        (["01", "02"], ["01", "02"], {}, ["01", "02"]),
        ([0, 1], ["bad", "good"], {}, ["bad", "good"]),
        (["0", "1"], ["bad", "good"], {}, ["bad", "good"]),
        ([1.0, 0.0], ["bad", "good"], {}, ["good", "bad"]),
        (["1.0", "0.0"], ["bad", "good"], {}, ["good", "bad"]),
        ([1.0, 2.0], ["1", "2"], {}, ["1", "2"]),
        ([0, 1], ["1", "0"], {}, ["0", "1"]),
        ([True, False], ["false", "true"], {}, ["true", "false"]),
        ([True, False], ["False", "True"], {}, ["True", "False"]),
        ([True, False], ["no", "yes"], {"true": "yes", "false": "no"}, ["yes", "no"]),
        ([2, 3, 4], ["2", "3", "4"], {}, ["2", "3", "4"]),
        ([0, 1, -1], ["bad", "good"], {"-1": "bad"}, ["bad", "good", "bad"]),
        (["Unknown", "True"], ["True", "Uncertain"], {"Unknown": "Uncertain"}, ["Uncertain", "True"]),
    ],
)
def test_a_columns_values_are_names_or_numbers_and_aliases_come_first(values, labels, aliases, names):
    assert named(values, labels, aliases) == names


@pytest.mark.parametrize(
    ("values", "labels", "sentence"),
    [
        ([0, 1, 2, 3, 4], STARS, "label 0 is a number, and other rows have names"),
        ([1, 2], STARS, "could be class names or class numbers"),
        (["0", "bad"], ["bad", "good"], "'0' is a number, and other rows have names"),
        (["1", "2"], ["01", "02"], "2 is outside of 0 to 1"),
        ([0, 1, -1], ["bad", "good"], "-1 is outside of 0 to 1; this split is perhaps unlabelled"),
        ([True, False], ["bad", "good"], "unknown label (True|False)"),
        (["good", None], ["bad", "good"], "there is no label"),
        (["good", ""], ["bad", "good"], "there is no label"),
        ([["bad"]], ["bad", "good"], "is not a single value"),
        ([0.5], ["bad", "good"], "unknown label 0.5"),
        ([float("nan"), 1.0], ["bad", "good"], "unknown label nan"),
        (["god"], ["bad", "good"], "Did you mean 'good'"),
    ],
)
def test_what_could_be_two_things_or_none_is_an_error(values, labels, sentence):
    with pytest.raises(DataError, match=sentence):
        named(values, labels)


def test_an_alias_of_no_label_is_an_error():
    with pytest.raises(DataError, match="'god' is no label"):
        named(["x"], ["bad", "good"], {"x": "god"})


def test_the_row_of_a_bad_label_is_named_and_numbers_are_decided_over_all_splits(tmp_path):
    for split, values in (("train", [0, 1] * 10), ("test", [0, 7])):
        table = pa.table({"text": ["a"] * len(values), "label": values})
        pq.write_table(table, tmp_path / f"{split}.parquet")
    with pytest.raises(DataError, match="dataset case: row test:1: label 7 is outside of 0 to 1"):
        encoded(card(tmp_path, split={"test": "test"}), GPT2, tmp_path)


def test_class_numbers_in_a_file_train_as_their_names(tmp_path):
    pq.write_table(
        pa.table({"text": [f"a {i}" for i in range(20)], "label": [i % 2 for i in range(20)]}),
        tmp_path / "train.parquet",
    )
    data, _ = encoded(card(tmp_path, CLASSES, split={"stratify": ["label"]}), GPT2, tmp_path)
    rows = [row for split in (data.train, data.validation, data.test) for row in split]
    assert all(row["target"] == int(row["id"].split(":")[1]) % 2 for row in rows)
