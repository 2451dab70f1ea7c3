"""The report: whole, self-contained, safe with hostile names, and usable in a real browser."""

import contextlib
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from analysis.load import load
from analysis.render.latex import document
from analysis.report.content import sections
from analysis.report.page import page as render
from harness.cli.arguments import call
from harness.ledger.errors import RecordError, SpecError

HOSTILE = "<script>alert(1)</script>\"'&$x^2$ {{7*7}} | `b` \\ =cmd"


class Page(HTMLParser):
    """Ids, links, image descriptions and tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def answer(study_writer: Callable[..., object], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The page of a sweep with a hostile name, a failure and a hole, and what the terminal showed."""
    folder = tmp_path_factory.mktemp("report")
    about = {"title": HOSTILE, "control": "lora", "margin": 1.0}
    lost = {"fail": (("lora", "minilm", "mrpc", 0),), "missing": (("cla", "minilm", "mrpc", 1),)}
    study_writer(folder / "runs", labels={"cla": HOSTILE}, about=about, **lost)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        call("report", ["tiny", f"runs={folder / 'runs'}", "--out", str(folder), "--partial", "--allow-mixed"])
    return folder / "tiny" / "index.html", said.getvalue()


@pytest.fixture
def page(answer: tuple[Path, str]) -> Path:
    return answer[0]


def test_the_page_has_its_files_beside_it(page: Path) -> None:
    found = Page(page.read_text())
    links = [a["href"] for tag, a in found.tags if tag == "a" and a["href"] and not a["href"].startswith("#")]
    assert len(links) > 40
    assert [href for href in links if not (page.parent / str(href)).is_file()] == []
    assert all(p.stat().st_size > 1000 for p in page.parent.glob("*.png"))


def test_the_page_asks_for_nothing(page: Path) -> None:
    for tag, attrs in Page(page.read_text()).tags:
        for name in ("src", "href", "action", "data", "poster"):
            value = attrs.get(name) or ""
            assert "://" not in value or tag == "svg", (tag, attrs)
        assert tag not in ("iframe", "object", "embed") and (tag != "link" or attrs["href"] == "data:,")
    assert "@import" not in page.read_text() and "url(http" not in page.read_text()


def test_a_hostile_name_stays_a_name(page: Path) -> None:
    text = page.read_text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "{{7*7}}" in text
    assert [tag for tag, _ in Page(text).tags].count("script") == 6  # D3, Plot, three of ours, the data


def test_every_picture_has_words_and_data(page: Path) -> None:
    tags = Page(page.read_text()).tags
    pictures = [a for tag, a in tags if a.get("role") == "img"]
    assert len(pictures) >= 8
    assert all(len(str(a["aria-label"])) > 40 for a in pictures)
    assert len([1 for tag, a in tags if tag == "a" and str(a.get("href")).startswith("figure-")]) == len(pictures)


def test_ids_are_unique_and_tables_can_be_read_aloud(page: Path) -> None:
    tags = Page(page.read_text()).tags
    ids = [a["id"] for _, a in tags if a.get("id")]
    assert len(ids) == len(set(ids))
    names = [tag for tag, _ in tags]
    assert names.count("caption") == names.count("table")
    assert all(a.get("scope") in ("col", "row") for tag, a in tags if tag == "th")
    assert ("html", {"lang": "en"}) in tags


def test_equal_records_give_an_equal_page(written: Callable[..., Path]) -> None:
    runs = written(methods=("lora", "cla"), blocks=(("minilm", "mrpc"),))
    first, second = (render(frame, sections(frame)) for frame in (load("tiny", runs), load("tiny", runs)))
    assert first == second


def test_the_terminal_shows_the_tables_and_where_the_page_is(answer: tuple[Path, str]) -> None:
    page, said = answer
    assert "<script>" in said
    assert "1 of 3 runs: failed: oom" in said
    assert "1,000,000" in said
    assert f"Report: {page}" in said


def test_the_verb_refuses_holes_and_shows_them_when_asked(written, tmp_path: Path, capsys) -> None:
    runs = written(methods=("lora", "cla"), blocks=(("minilm", "mrpc"),), missing=(("cla", "minilm", "mrpc", 1),))
    words = ["sweep=tiny", "--runs", str(runs), "--out", str(tmp_path / "out"), "--json"]
    with pytest.raises(RecordError, match="1 of 6"):
        call("report", words)
    assert call("report", [*words, "--partial"]) == 0
    said = json.loads(capsys.readouterr().out)
    cell = next(c for c in said["cells"] if c["label"] == "cLA")
    assert (cell["n"], cell["planned"]) == (2, 3)
    assert "missing" in cell["reason"]
    assert Path(said["report"]).is_file()


@pytest.mark.parametrize("words", [[], ["swep=tiny"], ["sweep=../x"], ["sweep=tiny", "--what"]])
def test_a_wrong_command_line_is_one_sentence(words: list[str]) -> None:
    with pytest.raises(SpecError, match=r"peftlab report: .*Usage"):
        call("report", words)


def test_the_bare_name_of_a_sweep_is_enough(written, tmp_path: Path, capsys) -> None:
    runs = written(methods=("lora", "cla"), blocks=(("minilm", "mrpc"),))
    assert call("report", ["tiny", "--runs", str(runs), "--out", str(tmp_path / "out"), "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)["answers"]
    assert answer["best"] == "LoRA"


def test_a_sweep_without_a_finished_run_still_has_a_page(written: Callable[..., Path], tmp_path: Path) -> None:
    cells = tuple((m, "minilm", "mrpc", s) for m in ("lora", "cla") for s in (0, 1, 2))
    runs = written(methods=("lora", "cla"), blocks=(("minilm", "mrpc"),), missing=cells)
    assert (
        call("report", ["sweep=tiny", "--runs", str(runs), "--out", str(tmp_path), "--partial", "--allow-mixed"]) == 0
    )
    text = (tmp_path / "tiny" / "index.html").read_text()
    assert "6 of 6 planned runs have no readable record" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_the_latex_compiles(page: Path, tmp_path: Path) -> None:
    tables = [path.read_text() for path in sorted(page.parent.glob("*.tex"))]
    (tmp_path / "all.tex").write_text(document(tables))
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"], cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


def test_the_latex_is_balanced_and_escaped(page: Path) -> None:
    """Without pdflatex: braces balance, every row has its cells, and no special character of a name is left."""
    for path in page.parent.glob("*.tex"):
        text = path.read_text()
        plain = re.sub(r"\\[\\{}$&%#_]|\\text\w+\{\}", "", text)
        assert plain.count("{") == plain.count("}"), path.name
        assert plain.count("$") % 2 == 0, path.name
        body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
        heads = re.sub(r"\\&", "", text.split(r"\toprule")[1].split(r"\midrule")[0]).count("&")
        rows = [row for row in body.strip().split("\n") if row]
        assert all(re.sub(r"\\&", "", row).count("&") == heads for row in rows), path.name


def test_the_csv_runs_no_formula(page: Path) -> None:
    for path in page.parent.glob("*.csv"):
        for cell in re.split(r"[,\n]", path.read_text()):
            assert not re.match(r'"?[=@][A-Za-z]', cell), (path.name, cell)
