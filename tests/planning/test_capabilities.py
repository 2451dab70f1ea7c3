"""docs/capabilities.md: every method and column is in it, none is broken, and cells probed anew agree with it."""

import re
from pathlib import Path

import pytest

from harness.planning.capabilities import COLUMNS, probe, rows

PAGE = (Path(__file__).parents[2] / "docs" / "capabilities.md").read_text(encoding="utf-8")
MARKS = {"✓": "works", "–": "refused", "noted": "noted"}


def cells():
    """(row, column) -> (state, number of its sentence), as the page says."""
    lines = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith(("| `", "| method"))]
    columns = [cell.strip() for cell in lines[0][1:]]
    table = {line[0].strip(" `"): [cell.split() for cell in line[1:]] for line in lines[1:]}
    return columns, {
        (row, column): (MARKS.get(cell[0], "broken"), cell[1:])
        for row, of_row in table.items()
        for column, cell in zip(columns, of_row, strict=True)
    }


def test_the_page_names_every_method_of_conf_every_type_of_the_library_and_every_column():
    columns, page = cells()
    assert columns == list(COLUMNS)
    assert tuple(dict.fromkeys(row for row, _ in page)) == rows()


def test_no_cell_is_broken_and_every_refusal_and_note_has_its_sentence():
    _, page = cells()
    sentences = dict(re.findall(r"^(\d+)\. (.+)$", PAGE, re.M))
    assert not [where for where, (state, _) in page.items() if state == "broken"]
    said = [(state, sentences[number[0]]) for state, number in page.values() if state != "works"]
    assert all(sentence.startswith(f"{state}: ") for state, sentence in said)
    assert {state for state, _ in said} == {"refused", "noted"}


@pytest.mark.parametrize(
    "where",
    [("cla", "Conv1D"), ("prefix_tuning", "checkpointing"), ("full", "export"), ("peft.type=LILY", "merge"),
     ("dylora", "resume"), ("c3la", "sharded"), ("cola", "plugin"), ("bitfit", "bf16"), ("autolora", "sharded"),
     ("peft.type=CPT", "image"), ("peft.type=C3A", "start unchanged"), ("peft.type=LOHA", "start unchanged"),
     ("lora", "quantised")],
)  # fmt: skip
def test_a_cell_probed_anew_says_what_the_page_says(where):
    _, page = cells()
    assert probe(*where).state == page[where][0]
