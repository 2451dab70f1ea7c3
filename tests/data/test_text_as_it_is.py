"""No text is changed or lost on its way to a model: it comes back from the token ids, or there is an error."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.config.resolve import Resolver
from harness.data.files import read_table
from harness.ledger.errors import DataError, SpecError
from tests.data.cards import CLASSES, LANGUAGE, card, encoded
from tests.parts import part_of

GPT2 = part_of(Resolver(), "model", ("model=gpt2_small", "model.size=tiny")).spec


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "rows").mkdir()
    return tmp_path / "rows"


def texts(data, tokenizer) -> dict[str, str]:
    """What the model reads, by row id."""
    rows = [row for split in (data.train, data.validation, data.test) for row in split]
    return {row["id"]: tokenizer.decode(row["input_ids"].tolist()) for row in rows}


def read(spec, cache) -> list[str]:
    """The texts of the rows of train, in their order."""
    found = texts(*encoded(spec, GPT2, cache))
    return [found[f"train:{i}"].removesuffix("\nGood?") for i in range(len(found))]


def write_csv(path, values, delimiter=",", encoding="utf-8") -> None:
    lines = [f"{value}{delimiter}{'bad' if i % 2 else 'good'}\n" for i, value in enumerate(values)]
    path.write_bytes(f"text{delimiter}label\n{''.join(lines)}".encode(encoding))


def write_lines(path, rows) -> None:
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")


@pytest.mark.parametrize(
    "values",
    [
        ["true", "false", "1", "0"],
        ["007", "00", "01", "0"],
        ["12345678901234567890123", "1", "0.10", "1e5"],
        ["NA", "null", "NaN", "None", ""],
        ["2020-01-01", "12:00", "1/2", "$5"],
        ["a b ", " a", "a\tb", "a\u2028b", "a\x85b"],
    ],
)
def test_a_csv_files_texts_are_read_as_they_are_written(folder, tmp_path, values):
    write_csv(folder / "train.csv", values * 10)
    assert read(card(folder), tmp_path) == values * 10


def test_a_byte_of_another_encoding_is_named_and_its_encoding_can_be(folder, tmp_path):
    write_csv(folder / "train.csv", [f"word {i}" for i in range(30)] + ["word 30 café"], encoding="latin-1")
    with pytest.raises(DataError, match=r"train.csv: line 32 is not utf-8 \(byte 0xe9 at offset \d+\); name"):
        read(card(folder), tmp_path)
    assert read(card(folder, source={"encoding": "latin-1"}), tmp_path)[30] == "word 30 café"
    with pytest.raises(DataError, match="'latin-one' is no encoding"):
        read(card(folder, source={"encoding": "latin-one"}), tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_the_first_columns_name(folder, tmp_path, encoding):
    write_csv(folder / "train.csv", [f"é {i}" for i in range(20)], encoding=encoding)
    source = {"encoding": encoding} if encoding == "utf-16" else {}
    assert read(card(folder, source=source), tmp_path)[3] == "é 3"


@pytest.mark.parametrize(("name", "delimiter"), [("train.tsv", "\t"), ("train.csv.gz", ","), ("train.CSV", ",")])
def test_other_names_of_delimited_files_are_known(folder, tmp_path, name, delimiter):
    write_csv(folder / "rows", [f"a {i}" for i in range(20)], delimiter)
    raw = (folder / "rows").read_bytes()
    (folder / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    assert read(card(folder), tmp_path)[7] == "a 7"


def test_a_delimiter_can_be_named_and_a_wrong_count_of_fields_is_an_error(folder, tmp_path):
    write_csv(folder / "train.csv", ["a, b"] * 20, delimiter=";")
    assert read(card(folder, source={"delimiter": ";"}), tmp_path)[0] == "a, b"
    write_csv(folder / "train.csv", ["a, b"] * 20)
    with pytest.raises(DataError, match=r"line 2 has 3 fields and the header 2; .*dataset.source.delimiter"):
        read(card(folder), tmp_path)
    with pytest.raises(DataError, match="not one character"):
        read(card(folder, source={"delimiter": "||"}), tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no header line"),
        ("text,text\na,b\n", "names a column twice"),
        ('text,label\n"a"b,bad\n', "line 2: .*a quote inside a quoted field is doubled"),
        ('text,label\n"a,bad\n', "unexpected end of data"),
        ("text,label\n", "has no rows"),
        ("text,label\nword 0,bad\n", "has no rows"),
        ("text,label\nword 0,bad\nword 1,good\n", "has no rows"),
    ],
)
def test_a_csv_file_that_is_not_whole_is_one_sentence(folder, tmp_path, text, sentence):
    (folder / "train.csv").write_text(text)
    with pytest.raises(DataError, match=sentence):
        read(card(folder, split={"stratify": ["label"]}), tmp_path)


def test_json_lines_end_at_line_feeds_alone(folder, tmp_path):
    rows = [{"text": f"one\u2028two\x85three\x0b{i}", "label": "bad"} for i in range(20)]
    write_lines(folder / "train.jsonl", rows)
    assert read(card(folder), tmp_path) == [row["text"] for row in rows]
    (folder / "train.jsonl").write_bytes(
        b"\xef\xbb\xbf" + (folder / "train.jsonl").read_bytes().replace(b"\n", b"\r\n")
    )
    assert read(card(folder), tmp_path) == [row["text"] for row in rows]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('{"text": "a", "label":', "line 20, column 23"),
        ('{"text": "a", "text": "b"}', "line 20: key 'text' stands there twice"),
        ('["a"]', "line 20 is a list, not an object"),
        ('{"text": 1, "label": "bad"}', r"column 'text' holds text \(line 1\) and a number \(line 20\)"),
        ('{"text": "\\ud800", "label": "bad"}', "column 'text'"),
    ],
)
def test_a_json_line_that_is_wrong_is_named(folder, tmp_path, line, sentence):
    write_lines(folder / "train.jsonl", [{"text": f"a {i}", "label": "bad"} for i in range(19)])
    with (folder / "train.jsonl").open("a") as file:
        file.write(f"\n{line}")
    with pytest.raises(DataError, match=sentence):
        read(card(folder), tmp_path)


def test_whole_numbers_beyond_64_bits_stay_whole(folder, tmp_path):
    write_lines(folder / "train.jsonl", [{"id": 10**25 + i, "text": "a", "label": "bad"} for i in range(20)])
    data, _ = encoded(card(folder, split={"key": "id"}), GPT2, tmp_path)
    assert f"train:{10**25 + 3}" in {row["id"] for split in (data.train, data.validation, data.test) for row in split}


@pytest.mark.parametrize("as_array", [True, False])
def test_a_key_that_the_first_row_lacks_is_there_and_a_null_input_is_empty_by_declared_choice(
    folder, tmp_path, as_array
):
    rows = [{"text": "do", "out": "r"} | ({"input": f"ctx {i}"} if i % 2 else {}) for i in range(20)]
    if as_array:
        (folder / "train.json").write_text(json.dumps(rows))
    else:
        write_lines(folder / "train.jsonl", rows)
    task = LANGUAGE | {"prompt": LANGUAGE["prompt"] | {"context": "{text} {input}"}}
    with pytest.raises(DataError, match=r"row train:\d+: .*'input' is null; .*missing_text: empty"):
        encoded(card(folder, task), GPT2, tmp_path)
    found = texts(*encoded(card(folder, task, missing_text="empty"), GPT2, tmp_path))
    assert (found["train:0"], found["train:1"]) == ("do \nGood?r<|end|>", "do ctx 1\nGood?r<|end|>")


def test_a_null_target_is_an_error_always(folder, tmp_path):
    write_lines(folder / "train.jsonl", [{"text": "say", "out": None if i == 4 else "ok"} for i in range(20)])
    for missing in ("error", "empty"):
        with pytest.raises(DataError, match=r"row train:4: .*'out' is null"):
            encoded(card(folder, LANGUAGE, missing_text=missing), GPT2, tmp_path)


@pytest.mark.parametrize("values", [[None, "a"], [1.5, 2.0], [True, False], [b"a", b"b"], [{"a": "b"}, {"a": "c"}]])
def test_what_is_no_text_is_refused_with_its_row(folder, tmp_path, values):
    pq.write_table(pa.table({"text": values * 10, "label": ["bad", "good"] * 10}), folder / "train.parquet")
    with pytest.raises(DataError, match=r"dataset case: row train:\d+: .*'text' (is null|holds)"):
        read(card(folder), tmp_path)


def test_whole_numbers_and_lists_of_texts_have_one_text(folder, tmp_path):
    pq.write_table(
        pa.table({"n": [7] * 20, "text": [["a", "b"]] * 20, "label": ["bad"] * 20}), folder / "train.parquet"
    )
    task = CLASSES | {"prompt": CLASSES["prompt"] | {"before": "{n}: "}}
    assert read(card(folder, task), tmp_path)[0] == "7: a\nb"


def test_nested_columns_dots_in_names_and_doubled_braces_are_read(folder, tmp_path):
    rows = [{"q": {"body": [f"x{i}"], "tag": ("bad", "good")[i % 2]}, "a.b": "dot"} for i in range(20)]
    write_lines(folder / "train.jsonl", rows)
    prompt = CLASSES["prompt"] | {"context": "{{{a.b}}} {q.body[0]} {q[body]}"}
    spec = card(folder, CLASSES | {"text": [], "prompt": prompt, "label": "q.tag"}, split={"stratify": ["q.tag"]})
    assert read(spec, tmp_path)[5] == "{dot} x5 x5"
    for template, sentence in (
        ("{q.head}", "there is no 'head' in it; it has body, tag"),
        ("{", "a brace that is text"),
    ):
        with pytest.raises(DataError, match=sentence):
            read(card(folder, CLASSES | {"prompt": prompt | {"context": template}, "label": "q.tag"}), tmp_path)


def test_a_text_of_no_tokens_is_refused_where_the_model_adds_none(folder, tmp_path):
    write_csv(folder / "train.csv", ["x", "", ""] * 10)
    with pytest.raises(DataError, match=r"row train:\d+: the prompt is empty"):
        read(card(folder, CLASSES | {"prompt": None}), tmp_path)


def test_shards_of_different_kinds_are_named(folder):
    pq.write_table(pa.table({"text": ["a"], "label": [1]}), folder / "train-0.parquet")
    pq.write_table(pa.table({"text": ["a"], "label": ["x"]}), folder / "train-1.parquet")
    with pytest.raises(
        DataError, match=r"column 'label' is int64 in .*train-0.parquet and string in .*train-1.parquet"
    ):
        read_table(sorted(folder.iterdir()))


def test_yamls_own_truth_values_are_explained():
    for labels in ([False, True], [1, 2]):
        with pytest.raises(SpecError, match=r"dataset.task.labels\[0\]: .* is not a text; put it in quotes"):
            card("nowhere", CLASSES | {"labels": labels})
    with pytest.raises(SpecError, match="a key is True; put it in quotes"):
        card("nowhere", CLASSES | {"aliases": {True: "good"}})
