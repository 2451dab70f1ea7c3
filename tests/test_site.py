"""The site of the documents: built strictly, whole, and without a request to anywhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.analysis.chromium import BROWSER, Chromium

pytest.importorskip("mkdocs", reason="the site needs peftlab[docs]")
ROOT = Path(__file__).parents[1]
FIRST_RESULT = """new Promise((found) => {
  const look = () => document.querySelector(".md-search-result__link")?.href;
  const asked = setInterval(() => look() && (clearInterval(asked), found(look())), 50);
})"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    place = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(place)]
    done = subprocess.run(
        build, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return place


def test_every_document_is_a_page_of_the_site_and_in_its_navigation(site):
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} | {"index", "CONTRIBUTING", "CHANGELOG"}
    pages |= {path.stem for path in (ROOT / "benchmarks/results").glob("*.md")} | {"published"}
    assert pages <= {path.stem for path in site.rglob("*.html")}
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    listed = [page for part in nav for page in ([part] if isinstance(part, str) else next(iter(part.values())))]
    assert {Path(page).stem for page in listed} == pages
    assert len(listed) == len(pages) + 1, "squeeze is a page, and the name of a measured one"


def test_a_page_asks_for_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        asked = re.findall(r"<(?:script|img|iframe)[^>]*\bsrc=[\"']?(https?:|//)", text)
        asked += re.findall(r"<link[^>]*rel=[\"']?(?:stylesheet|preconnect|icon)[^>]*href=[\"']?(https?:|//)", text)
        assert not asked, page.name


def test_links_out_of_the_documents_are_names_of_files_and_links_among_them_lead_to_pages(site):
    quickstart = (site / "quickstart.html").read_text(encoding="utf-8")
    assert 'href="../' not in quickstart and "<code>analysis/notebooks</code>" in quickstart
    assert "<code>conf/method</code>" in (site / "contents.html").read_text(encoding="utf-8")
    index = (site / "index.html").read_text(encoding="utf-8")
    assert 'href="CONTRIBUTING.html"' in index and 'src="quickstart.png"' in index


@pytest.mark.skipif(not BROWSER, reason="needs Chromium")
def test_a_page_that_is_opened_as_a_file_is_searched_and_says_nothing_in_the_console(site, tmp_path):
    tab = Chromium(tmp_path)
    tab.open(site / "results/squeeze.html", width=400)
    assert tab.ask("document.documentElement.scrollWidth") == 400
    tab.ask("document.querySelector('[for=__search]').click(), document.querySelector('.md-search__input').focus()")
    tab.call("Input.insertText", text="oneDNN")
    tab.press("Space")
    assert "measuring.html" in tab.ask(FIRST_RESULT) or "speed.html" in tab.ask(FIRST_RESULT)
    assert not tab.said and {url.partition(":")[0] for url in tab.asked} <= {"file", "about"}
    tab.close()
