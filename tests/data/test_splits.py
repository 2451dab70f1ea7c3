"""The split rule: by hash, never by the run's seed; equal shares of every stratum; no row in two splits."""

from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.config.resolve import Resolver
from harness.data.splits import digest, divide, row_keys
from harness.ledger.dataset_spec import SplitSpec
from harness.ledger.errors import DataError
from tests.parts import part_of

COLA = part_of(Resolver(), "dataset", ("dataset=cola",)).spec


def spec(**changes):
    plain = SplitSpec("train", None, None, 0.15, 0.25, ("label",), None, None)
    return replace(COLA, split=replace(plain, **changes))


def table(rows: int, classes: int = 5) -> pa.Table:
    return pa.table(
        {"label": [str(i * i % classes) for i in range(rows)], "story": [i // 3 for i in range(rows)], "n": range(rows)}
    )


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(12, 300), classes=st.integers(1, 12), share=st.floats(0.05, 0.4), test_share=st.floats(0.05, 0.4)
)
def test_every_row_is_in_one_split_and_every_class_stays_in_train(rows, classes, share, test_share):
    data = table(rows, classes)
    parts = divide(spec(share=share, test_share=test_share), {"train": data})
    assert sorted(row for part in parts.values() for row in part.rows) == list(range(rows))
    labels = data["label"].to_pylist()
    assert {labels[row] for row in parts["train"].rows} == set(labels)
    spare = rows - len(set(labels))
    assert len(parts["test"].rows) == min(round(test_share * rows), spare)


def test_held_out_rows_are_shared_among_the_classes_in_proportion():
    data = table(1000, 5)
    parts = divide(spec(), {"train": data})
    labels = data["label"].to_pylist()
    whole = Counter(labels)
    for name, share in (("test", 0.25), ("validation", 0.15)):
        found = Counter(labels[row] for row in parts[name].rows)
        assert all(abs(found[label] - share * count) <= 1 for label, count in whole.items())


def test_the_one_row_of_a_class_stays_in_train():
    """Also where there are so many of them that the large class must give what they cannot."""
    data = pa.table({"label": [*(f"rare {n}" for n in range(5)), *["common"] * 6]})
    parts = divide(spec(share=0.1, test_share=0.4), {"train": data})
    assert set(range(5)) < set(parts["train"].rows)
    assert [len(part.rows) for part in parts.values()] == [6, 1, 4]


def test_more_rows_of_a_class_do_not_reorder_the_others():
    """By row key: what is held out of 200 rows is, as far as it goes, what is held out of 400."""
    few, many = (
        divide(spec(stratify=(), test_share=0.5, share=0.1), {"train": table(n)})["test"].rows for n in (200, 400)
    )
    kept = [row for row in many if row < 200]
    assert len(set(few) & set(kept)) > 0.8 * len(kept)


def test_groups_are_never_torn_apart():
    data = table(300)
    parts = divide(spec(group="story", stratify=()), {"train": data})
    stories = data["story"].to_pylist()
    found = [{stories[row] for row in part.rows} for part in parts.values()]
    assert not (found[0] & found[1] or found[0] & found[2] or found[1] & found[2])
    assert 0.25 * 300 <= len(parts["test"].rows) < 0.25 * 300 + 3


def test_official_splits_stay_whole_and_a_shared_one_is_halved():
    tables = {"train": table(50), "validation": table(40), "test": table(30)}
    official = divide(spec(validation="validation", test="test"), tables)
    assert [len(part.rows) for part in official.values()] == [50, 40, 30]
    halved = divide(spec(validation="validation", test="validation", share=0.5), tables)
    assert [len(part.rows) for part in halved.values()] == [50, 20, 20]
    assert not set(halved["validation"].rows) & set(halved["test"].rows)


def test_a_real_valued_label_is_stratified_by_deciles():
    data = pa.table({"label": [i / 100 for i in range(500)]})
    held = divide(spec(test="test", share=0.1), {"train": data, "test": data})["validation"].rows
    assert Counter(row // 50 for row in held) == dict.fromkeys(range(10), 5)


def test_a_split_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(DataError, match="no split 'dev'; it has train"):
        divide(spec(validation="dev"), {"train": table(9)})


def test_upstream_ids_must_not_repeat():
    with pytest.raises(DataError, match="repeat"):
        row_keys(replace(COLA.split, key="label"), "train", table(9))


def test_the_digest_is_of_the_set_of_keys():
    assert digest(["b", "a"]) == digest(["a", "b"]) != digest(["a", "c"])


def test_groups_with_strata_are_refused():
    with pytest.raises(DataError, match="give either group or stratify"):
        divide(spec(group="story"), {"train": table(30)})


@pytest.mark.parametrize("values", [[None, 0.5, 1.0], [None, "a", "b"], ["", "0.5", "1.5"], [float("nan"), 0.1, 0.2]])
def test_rows_without_a_stratum_are_a_stratum_of_their_own(values):
    parts = divide(spec(), {"train": pa.table({"label": values * 40})})
    assert sorted(row for part in parts.values() for row in part.rows) == list(range(120))
    assert all(9 <= sum(row % 3 == 0 for row in parts["test"].rows) <= 11 for _ in values)


def test_numbers_that_a_csv_file_holds_as_text_have_the_strata_of_numbers():
    numbers = [i / 7 for i in range(200)]
    found = [divide(spec(), {"train": pa.table({"label": column})}) for column in (numbers, [*map(str, numbers)])]
    assert found[0] == found[1]


@pytest.mark.parametrize("changes", [{"stratify": ("label",)}, {"key": "label", "stratify": ()}])
def test_strata_and_keys_of_several_values_are_refused(changes):
    with pytest.raises(DataError, match=r"row 0: 'label' holds .*a column of single values"):
        divide(spec(**changes), {"train": pa.table({"label": [["a"], ["b"]] * 10})})


def test_a_key_or_group_that_is_not_there_is_named():
    with pytest.raises(DataError, match="row train:1: 'id' is empty"):
        row_keys(replace(COLA.split, key="id"), "train", pa.table({"id": ["a", None]}))


def test_a_limit_takes_rows_by_hash_and_a_larger_one_only_adds_to_them():
    tables = {"train": table(300)}
    whole = divide(spec(), tables)
    few, more = (divide(spec(limit={"train": count}), tables) for count in (50, 120))
    assert set(few["train"].rows) < set(more["train"].rows) < set(whole["train"].rows)
    assert (len(few["train"].rows), len(more["train"].rows)) == (50, 120)
    assert few["test"] == more["test"] == whole["test"] and few["validation"] == whole["validation"]
    assert divide(spec(limit={"train": 10_000}), tables) == whole
    for limit in ({"dev": 5}, {"train": 0}):
        with pytest.raises(DataError, match=r"split.limit"):
            divide(spec(limit=limit), tables)
