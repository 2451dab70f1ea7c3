"""What the documents name is there: functions of the walks, files that are linked, headings that links point to."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from harness.ledger.diagnoses import VERSIONS

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "analysis").rglob("*.md")])
NAMES = sorted(set(re.findall(r"`((?:\w+\.)+\w+:\w+)`", (ROOT / "docs/architecture.md").read_text(encoding="utf-8"))))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def test_the_walks_name_functions():
    assert len(NAMES) > 30


@pytest.mark.parametrize("name", NAMES)
def test_a_function_that_architecture_names_is_where_it_says(name):
    module, function = name.split(":")
    spec = find_spec(module)
    assert spec is not None and spec.origin is not None
    source = Path(spec.origin).read_text(encoding="utf-8")
    assert re.search(rf"^(def|class) {function}\b|^from \S+ import .*\b{function}\b", source, re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document):
    for link in LINK.findall(document.read_text(encoding="utf-8")):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, heading = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), f"{document.name} links to {link}"
        if heading:
            assert heading in _anchors(target), f"{document.name} links to {link}"


def test_the_glossary_has_each_word_once_and_in_order():
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs/glossary.md").read_text(encoding="utf-8"), re.MULTILINE)[1:]
    words = [row.split(",")[0].strip().lower().replace("³", "3") for row in rows]
    assert len(words) == len(set(words)) > 30
    assert words == sorted(words)


@pytest.mark.parametrize("word", ["cLA", "cell", "block", "ledger", "floor", "saved for backward", "margin"])
def test_the_glossary_explains(word):
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs/glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert any(word in row for row in rows)


def test_the_job_script_of_diagnoses_has_a_job_for_each_kind():
    text = (ROOT / "docs/slurm.md").read_text(encoding="utf-8")
    (kinds,), (last,) = re.findall(r"^kinds=\((.+)\)$", text, re.MULTILINE), re.findall(r"--array=0-(\d+)", text)
    assert kinds.split() == list(VERSIONS) and int(last) == len(VERSIONS) - 1


def _anchors(document):
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
