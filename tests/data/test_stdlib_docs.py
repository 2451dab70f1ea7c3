"""Docstrings of the standard library: read without importing, without their own module's name, without repeats."""

import re
import sys

import pytest

from harness.config.resolve import Resolver
from harness.data.builtin.stdlib_docs import build, clean
from harness.ledger.errors import DataError
from tests.parts import part_of

OPTIONS = {"modules": ["statistics", "tarfile", "mailbox"], "per_module": 40, "min_words": 5, "max_words": 20}


def test_no_text_names_its_own_module():
    for row in build(OPTIONS)["train"]:
        assert not re.search(rf"\b{row['module']}\b", row["text"], re.IGNORECASE)
    assert clean("Open a pathlib.Path; PATHLIB members.", "pathlib") == "Open a Path; members."


def test_texts_are_different_bounded_and_the_same_each_time():
    rows = build(OPTIONS)["train"]
    assert rows == build(OPTIONS)["train"]
    assert len({row["text"] for row in rows}) == len(rows) == len({row["key"] for row in rows}) > 60
    assert all(5 <= len(row["text"].split()) <= 20 for row in rows)
    assert max(sum(row["module"] == name for row in rows) for name in OPTIONS["modules"]) <= 40


def test_modules_are_read_and_never_imported():
    sys.modules.pop("mailbox", None)
    build(OPTIONS)
    assert "mailbox" not in sys.modules


def test_a_module_that_this_python_lacks_is_one_sentence():
    with pytest.raises(DataError, match="no source of 'no_such_module'"):
        build(OPTIONS | {"modules": ["no_such_module"]})


def test_the_card_names_as_labels_the_modules_that_it_reads():
    spec = part_of(Resolver(), "dataset", ("dataset=stdlib_docs",)).spec
    assert list(spec.task.labels) == list(spec.source.options["modules"])
