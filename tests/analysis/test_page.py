"""The page's first screen and its block of data: the numbers of the tables, and the words of the verdict."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.chosen import compared
from analysis.load import load
from analysis.report.chart_data import as_script, chart_data
from analysis.report.grid import grid, headline, legend
from analysis.report.summary import summary
from analysis.report.terms import explained, methods
from analysis.verdict import Verdict, verdicts

GLOSSARY = Path(__file__).parents[2] / "docs" / "glossary.md"


def test_the_chart_has_the_numbers_of_the_tables(written: Callable[..., Path]) -> None:
    frame = load("tiny", written(missing=(("cla", "minilm", "mrpc", 1),)), partial=True)
    data = json.loads(as_script(chart_data(compared(frame), frame)))
    points = {(p["block"], p["method"]): p["values"] for p in data["points"]}
    cells = summary(frame)["cells"]
    assert len(points) == len(cells) == 8
    for cell in cells:
        values = points[cell["block"], cell["label"]]
        shown = values["shown"]
        ends = (cell["lowest"], cell["highest"])
        assert (shown["mean"], shown["low"], shown["high"], shown["n"]) == (cell["score"], *ends, cell["n"])
        assert values["train_s"]["mean"] == pytest.approx(cell["means"]["train_s"])
        assert values["saved_bytes"]["mean"] == pytest.approx(cell["means"]["saved_bytes"] / 1e6)
        assert sum(shown["seeds"].values()) / shown["n"] == pytest.approx(shown["mean"])


def test_the_data_cannot_end_their_element() -> None:
    text = as_script({"name": "</script><!-- & \u2028"})
    assert "<" not in text
    assert json.loads(text) == {"name": "</script><!-- & \u2028"}


def test_the_grid_says_of_each_method_what_the_verdict_says(written: Callable[..., Path]) -> None:
    frame = load("tiny", written(fail=(("lora", "minilm", "mrpc", 0),)))
    answers = verdicts(frame)
    words = {(m, v.block): cell.word for m, row in grid(frame, answers) for v, cell in zip(answers, row, strict=True)}
    for v in answers:
        assert words[str(v.best), v.block].startswith("best mean")
        assert all(words[m, v.block].startswith("worse") for m in v.worse)
    assert words["Head only", "Minilm / TREC50"] == "worse"
    assert words["LoRA", "Minilm / MRPC"].endswith(", 2 of 3 runs")
    assert "paired t test" in legend(frame, answers)


def test_a_method_without_a_score_says_why_in_a_word(written: Callable[..., Path]) -> None:
    lost = tuple(("cla", "minilm", "mrpc", seed) for seed in (0, 1, 2))
    frame = load("tiny", written(missing=lost), partial=True)
    (row,) = (cells for method, cells in grid(frame, verdicts(frame)) if method == "cLA")
    assert [(cell.word, cell.score) for cell in row][1] == ("missing", "")


def test_the_grid_has_time_and_memory_in_units_of_ten(written: Callable[..., Path]) -> None:
    frame = load("tiny", written())
    (cell, _) = next(cells for method, cells in grid(frame, verdicts(frame)) if method == "LoRA")
    assert cell.cost == "24.2 s · 40 MB"  # 20 s · 1.2 · (1, 1.01, 1.02); ledger: 36.36 + 4 + … MB


@pytest.mark.parametrize(
    ("best", "said"),
    [
        (["LoRA"], "LoRA has the best mean score."),
        (["LoRA", "LoRA"], "LoRA has the best mean score on all 2 tasks."),
        (["LoRA", "cLA", "LoRA"], "Best mean score: LoRA on 2 of 3 tasks and cLA on 1 of 3 tasks."),
        ([None], "No run has finished."),
    ],
)
def test_the_headline_counts_the_tasks(best: list[str | None], said: str) -> None:
    assert headline([Verdict("b", method, (), None, ()) for method in best]) == said


def test_the_words_of_the_page_are_those_of_the_glossary() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)
    meanings = {word: text for words, text in rows for word in words.split(", ")}
    terms = json.loads((GLOSSARY.parents[1] / "analysis/report/terms.json").read_text(encoding="utf-8"))
    assert {word: meanings[word] for word in terms} == terms


def test_a_term_is_a_button_at_its_first_mention_and_text_is_escaped() -> None:
    text = explained("A seed, <b>seeds</b> & seedlings")
    button = '<button type="button" class="term" popovertarget="term-seed">seed</button>'
    assert text == f"A {button}, &lt;b&gt;seeds&lt;/b&gt; &amp; seedlings"


def test_a_method_is_explained_by_its_card(written: Callable[..., Path]) -> None:
    about = methods(load("tiny", written()))
    assert about["LoRA"].text == "W = W0 + s·BA; A and B trained. LoRA, arXiv:2106.09685, §4.1."
    assert set(about) == {"LoRA"}  # the other cards of this study say nothing
