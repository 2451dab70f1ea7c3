"""The files of a split: one file or one set of shards, wherever people put them; anything doubtful is refused."""

import pytest

from harness.data.layout import split_files
from harness.data.source import find_source
from harness.ledger.errors import DataError
from tests.data.cards import card

TEXT = "text,label\n" + "".join(f"tiger {i},{'bad' if i % 2 else 'good'}\n" for i in range(20))


def put(folder, *names) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(TEXT)


@pytest.mark.parametrize(
    "names",
    [
        ["train.csv"],
        ["train.CSV"],
        ["train.tsv.gz"],
        ["train-old.csv"],
        ["train-0.csv", "train-1.csv"],
        ["train-part1.csv", "train-part2.csv"],
        ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"],
        ["train-00000-of-00002-0123456789abcdef.parquet", "train-00001-of-00002-fedcba9876543210.parquet"],
        ["train/0000.parquet", "train/0001.parquet"],
        ["data/train-00000-of-00001.parquet"],
        ["data/train/a1.jsonl", "data/train/a2.jsonl"],
        ["train.txt"],
    ],
)
def test_one_file_or_one_set_of_shards_is_a_split(tmp_path, names):
    put(tmp_path, *names, "test.csv", "trainer.csv", "README.md", "train/.hidden.csv", "data/notes.txt")
    assert [path.relative_to(tmp_path).as_posix() for path in split_files(tmp_path, "train", {})] == names


@pytest.mark.parametrize(
    "names",
    [
        ["train.csv", "train.jsonl"],
        ["train-old.csv", "train.csv"],
        ["train-new.csv", "train-old.csv"],
        ["train.csv", "train.csv.gz"],
        ["train.csv", "train/0.csv"],
        ["data/train.csv", "train.csv"],
        ["train/a.csv", "train/b.csv"],
    ],
)
def test_a_split_that_is_there_twice_is_refused_with_its_files_and_the_way_to_name_one(tmp_path, names):
    put(tmp_path, *names)
    with pytest.raises(DataError, match=r"more than one source: .*files: {train: ") as error:
        split_files(tmp_path, "train", {})
    assert all(str(tmp_path / name) in str(error.value) for name in names)
    assert split_files(tmp_path, "train", {"train": names[0]}) == [tmp_path / names[0]]


def test_a_shard_that_is_missing_is_missed(tmp_path):
    put(tmp_path, "train-00000-of-00003.parquet", "train-00002-of-00003.parquet")
    with pytest.raises(DataError, match="holds 2 of 3 shards"):
        split_files(tmp_path, "train", {})


def test_what_can_be_read_is_said_where_nothing_is_found(tmp_path):
    put(tmp_path, "train.xlsx")
    with pytest.raises(DataError, match=r"no file of split train; it holds train.xlsx. What is looked for: .*\.tsv"):
        find_source(card(tmp_path))
    with pytest.raises(DataError, match="a file of this kind cannot be read"):
        find_source(card(tmp_path, source={"files": {"train": "train.xlsx"}})).read()


def test_a_path_may_name_the_environments_variables(tmp_path, monkeypatch):
    put(tmp_path, "train.csv")
    monkeypatch.setenv("CASE_FOLDER", str(tmp_path))
    for path in ("$CASE_FOLDER", "${CASE_FOLDER}"):
        assert find_source(card(path)).read()[0]["train"].num_rows == 20
    with pytest.raises(DataError, match=r"\$\{NO_SUCH\} is not set"):
        find_source(card("${NO_SUCH}/x"))
