"""The report in a real browser: silent, without a request, by keyboard, without scripts, light, dark, narrow."""

import json
import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from harness.cli.arguments import call
from tests.analysis.chromium import BROWSER, Chromium

pytestmark = [
    pytest.mark.skipif(not BROWSER, reason="no Chromium on this machine"),
    pytest.mark.slow,
]
HOSTILE = "<img src=x onerror=\"console.error('hostile')\"><script>console.error('hostile')</script>"
REACHABLE = "a[href], button, select, input, summary, .scroll, [role=img][tabindex]"
COLUMN = "[...document.querySelector('table').tBodies[0].rows].map((row) => row.cells[1].dataset.value)"
TIPS = "[...document.querySelectorAll('.tip:popover-open')].map((tip) => tip.textContent)"


@pytest.fixture(scope="module")
def page(study_writer: Callable[..., object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    methods = ("full", "head", "lora", "cla", "asym", "c3la")
    lost = {"fail": (("lora", "minilm", "mrpc", 0),), "missing": (("cla", "minilm", "mrpc", 1),)}
    study_writer(folder / "runs", methods=methods, labels={"cla": HOSTILE}, **lost)
    call("report", ["sweep=tiny", f"runs={folder / 'runs'}", "--out", str(folder), "--partial", "--allow-mixed"])
    return folder / "tiny" / "index.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """One for all tests: it starts once."""
    chromium = Chromium(tmp_path_factory.mktemp("profile"))
    yield chromium
    chromium.close()


def test_the_console_is_silent_and_nothing_is_asked_for(page: Path, browser: Chromium) -> None:
    browser.open(page)
    assert "tiny study" in browser.ask("document.body.textContent")
    assert browser.said == []
    assert browser.asked == []


def test_a_script_that_is_not_the_page_s_own_is_blocked(page: Path, browser: Chromium) -> None:
    """So the silence above means something."""
    broken = page.with_name("broken.html")
    broken.write_text(page.read_text().replace("sha256-", "sha256-A"))
    browser.open(broken)
    assert any("Content Security Policy" in message for message in browser.said)


def test_headings_sort_by_keyboard_and_say_so(page: Path, browser: Chromium) -> None:
    browser.open(page)
    first = browser.ask(COLUMN)
    browser.ask("document.querySelector('table').tHead.rows[0].cells[1].querySelector('button').focus()")
    browser.press("Enter")
    assert browser.ask(COLUMN) == sorted(first, key=float)
    assert "sorted by Minilm / TREC50 accuracy" in browser.ask("document.getElementById('said').textContent")
    browser.press("Space")
    assert browser.ask(COLUMN) == sorted(first, key=float, reverse=True)
    assert browser.ask("document.activeElement.closest('th').getAttribute('aria-sort')") == "descending"
    browser.press("Enter")
    assert browser.ask(COLUMN) == first


def test_the_tab_key_reaches_everything(page: Path, browser: Chromium) -> None:
    browser.open(page)
    seen = f"[...document.querySelectorAll({REACHABLE!r})].filter((e) => e.checkVisibility())"
    count = browser.ask(f"{seen}.length")
    browser.ask("window.reached = new Set(); addEventListener('focusin', (event) => reached.add(event.target))")
    for _ in range(count + 5):
        browser.press("Tab")
    assert count > 60
    missed = f"{seen}.filter((e) => !reached.has(e)).map((e) => e.outerHTML.slice(0, 100))"
    assert browser.ask(missed) == []


def test_focus_opens_what_a_word_means_and_escape_closes_it(page: Path, browser: Chromium) -> None:
    browser.open(page)
    for word, meaning in (("LoRA", "W = W0 + s·BA; A and B trained. LoRA, arXiv:2106"), ("seeds", "share data order")):
        browser.ask(f"[...document.querySelectorAll('.term')].find((e) => e.textContent == '{word}').focus()")
        (tip,) = browser.ask(TIPS)
        assert meaning in tip
    browser.press("Escape")
    assert browser.ask(TIPS) == []


def test_a_dot_tells_its_numbers_on_focus(page: Path, browser: Chromium) -> None:
    browser.open(page)
    browser.ask("document.querySelector('#chart svg [role=img]').focus()")
    (tip,) = browser.ask(TIPS)
    assert re.match(r"Full fine-tuning.*accuracy \(%\) [\d.]+ \[[\d., ]+\].*training time \(s\).*3 seeds", tip)


def test_the_chart_draws_the_axes_methods_and_control_that_are_chosen(page: Path, browser: Chromium) -> None:
    browser.open(page)
    dots = "document.querySelectorAll('#chart svg [role=img]').length"
    axes = "[...document.querySelectorAll('#chart .panels svg')].map((svg) => svg.ariaLabel)"
    pick = "const s = document.querySelectorAll('#chart select')[{}]; s.value = '{}'; "
    pick += "s.dispatchEvent(new Event('change'))"
    assert browser.ask(dots) == 12
    browser.ask("document.querySelector('#chart input').click()")
    assert browser.ask(dots) == 10
    for place, value in ((1, "saved_bytes"), (2, "LoRA")):
        browser.ask(f"{{{pick.format(place, value)}}}")
    assert browser.ask(axes) == [
        f"Minilm / {name}: accuracy (%), difference to LoRA against saved for backward, × LoRA"
        for name in ("TREC50", "MRPC")
    ]
    said = browser.ask("[...document.querySelectorAll('#chart svg [role=img]')].map((dot) => dot.ariaLabel)")
    assert "LoRA: accuracy (%), difference to LoRA 0 [0, 0]; saved for backward, × LoRA 1 [1, 1]; 3 seeds" in said
    assert browser.said == []


def test_settings_that_vary_are_a_map_of_two_or_a_line_of_one(page: Path, browser: Chromium) -> None:
    """A score far below the others takes no colour from them, and a lost one is named."""
    rates = {rate: 10.0 if rate == 1.0 else 80 + 1e3 * rate for rate in (1e-3, 3e-3, 1.0)}
    tried = [("map", {"recipe.lr": lr, "update.rank": r}, score + r) for lr, score in rates.items() for r in (4, 8, 16)]
    tried += [("line", {"recipe.lr": lr}, score) for lr, score in rates.items()]
    settings = [{"block": "b", "method": m, "keys": keys, "score": score} for m, keys, score in tried]
    settings[0]["score"] = None
    copy = page.with_name("settings.html")
    copy.write_text(page.read_text().replace('"settings":[]', f'"settings":{json.dumps(settings)}'))
    browser.open(copy)
    assert browser.said == []
    words = browser.ask("[...document.querySelectorAll('#settings svg[role=img]')].map((svg) => svg.ariaLabel)")
    assert [text.split("; ")[:2] for text in words] == [
        ["lr 0.001, rank 4: failed", "lr 0.001, rank 8: 89"],
        ["lr 0.001: 81", "lr 0.003: 83"],
    ]
    fills = "[...document.querySelectorAll('#settings svg[role=img] rect')].map((r) => r.attributes.fill.value)"
    assert len(set(browser.ask(fills))) == 7


def test_without_a_script_tables_and_pictures_are_there(page: Path, browser: Chromium) -> None:
    browser.open(page, scripts=False)
    assert browser.ask("document.querySelector('figure.static').checkVisibility()")
    assert browser.ask("document.querySelectorAll('thead button, #chart *').length") == 0
    assert browser.ask("document.querySelectorAll('td').length") > 100


def test_dark_mode_turns_page_and_pictures(page: Path, browser: Chromium) -> None:
    for dark, ground in ((False, "rgb(255, 255, 255)"), (True, "rgb(13, 17, 23)")):
        browser.open(page, dark=dark)
        assert browser.ask("getComputedStyle(document.body).backgroundColor") == ground
        for picture in (".pictures", "#chart .panels"):
            ink = f"getComputedStyle(document.querySelector('{picture} svg text')).fill"
            assert browser.ask("getComputedStyle(document.body).color") == browser.ask(ink)


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (400, True)])
def test_axe_finds_no_violation(page: Path, browser: Chromium, width: int, dark: bool) -> None:
    """One table of each section, and of static pictures their words: all else would be looked at many times over."""
    spec = find_spec("axe_core_python")
    assert spec is not None and spec.origin is not None, "pip install -e .[dev]"
    browser.open(page, width=width, dark=dark)
    browser.ask(Path(spec.origin).with_name("axe.min.js").read_text(encoding="utf-8"))
    browser.ask("document.querySelectorAll('.picture svg, .table ~ .table').forEach((element) => element.remove())")
    options = "{resultTypes: ['violations']}"
    found = browser.ask(f"axe.run({options}).then((result) => JSON.stringify(result.violations))")
    assert [(v["id"], v["nodes"][0]["html"][:120]) for v in json.loads(found)] == []


def test_a_narrow_screen_scrolls_tables_and_not_the_page(page: Path, browser: Chromium) -> None:
    browser.open(page, width=400)
    assert browser.ask("document.documentElement.scrollWidth") <= 400


def test_on_a_narrow_screen_each_cell_of_the_first_table_is_seen_whole_under_its_task(
    page: Path, browser: Chromium
) -> None:
    browser.open(page, width=400)
    tasks = browser.ask("[...document.querySelectorAll('.grid thead th')].slice(1).map((head) => head.textContent)")
    cells = "[...document.querySelectorAll('.grid tbody td')]"
    within = f"{cells}.every((cell) => cell.getBoundingClientRect().right <= 400 && cell.scrollWidth <= 400)"
    assert len(tasks) > 1 and browser.ask(within)
    named = browser.ask(f"{cells}.map((cell) => getComputedStyle(cell, '::before').content)")
    assert len(named) == browser.ask("document.querySelectorAll('.grid tbody tr').length") * len(tasks)
    for place, name in enumerate(named):
        assert name.strip('"') and tasks[place % len(tasks)].startswith(name.strip('"'))


def test_no_table_scrolls_on_a_desk(page: Path, browser: Chromium) -> None:
    browser.open(page)
    wide = "[...document.querySelectorAll('.scroll')].filter((box) => box.scrollWidth > box.clientWidth)"
    assert browser.ask(f"{wide}.map((box) => box.ariaLabel)") == []


def test_on_paper_what_is_folded_is_open_and_what_is_for_the_screen_is_not_there(page: Path, browser: Chromium) -> None:
    browser.open(page, media="print")
    assert browser.ask("document.querySelector('.words dd').checkVisibility({contentVisibilityAuto: true})")
    assert not browser.ask("document.querySelector('.controls').checkVisibility()")
