"""The report in a real browser: no console error, no request, sorting by keyboard, light and dark."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli.arguments import call

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine"),
    pytest.mark.slow,
]
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run", "--disable-extensions", "--disable-default-apps", "--hide-scrollbars"),
)
HOSTILE = "<img src=x onerror=\"console.error('hostile')\"><script>console.error('hostile')</script>"
PROBE = """
<script>
addEventListener("load", () => {
  const out = {};
  const table = document.querySelector("table");
  const button = table.tHead.rows[0].cells[1].querySelector("button");
  const column = () => [...table.tBodies[0].rows].map((row) => row.cells[1].dataset.value);
  button.focus();
  out.focused = document.activeElement === button;
  button.click(); out.up = column(); out.said = document.getElementById("said").textContent;
  button.click(); out.down = column();
  out.sort = button.closest("th").getAttribute("aria-sort");
  button.click(); out.first = column();
  out.page = getComputedStyle(document.body).backgroundColor;
  out.ink = getComputedStyle(document.body).color;
  const text = document.querySelector(".picture svg text");
  out.picture = text ? getComputedStyle(text).fill : "";
  out.wide = document.documentElement.scrollWidth <= innerWidth;
  const boxes = [...document.querySelectorAll(".scroll")];
  out.scrolled = boxes.filter((box) => box.scrollWidth > box.clientWidth).map((box) => box.ariaLabel);
  out.resources = performance.getEntriesByType("resource").map((entry) => entry.name);
  document.body.dataset.probe = JSON.stringify(out);
});
</script>
"""


@pytest.fixture(scope="module")
def page(study_writer: Callable[..., object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    methods = ("full", "head", "lora", "cla", "asym", "c3la")
    lost = {"fail": (("lora", "minilm", "mrpc", 0),), "missing": (("cla", "minilm", "mrpc", 1),)}
    study_writer(folder / "runs", methods=methods, labels={"cla": HOSTILE}, **lost)
    call("report", ["sweep=tiny", f"runs={folder / 'runs'}", "--out", str(folder), "--partial", "--allow-mixed"])
    return folder / "tiny" / "index.html"


def browse(page: Path, profile: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """One headless visit with an empty profile; stderr holds the console."""
    command = [
        str(BROWSER),
        *FLAGS,
        f"--user-data-dir={profile}",
        "--enable-logging=stderr",
        "--v=0",
        *flags,
        page.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def probed(page: Path, profile: Path, *flags: str) -> dict:
    """What the probe saw in a copy of the page; the policy names one script by its hash, so the copy does
    without it.
    """
    text = page.read_text()
    start = text.index("<meta http-equiv")
    text = text[:start] + text[text.index(">", start) + 1 :]
    copy = page.with_name("probed.html")
    copy.write_text(text.replace("</body>", PROBE + "</body>"))
    dumped = browse(copy, profile, "--dump-dom", *flags).stdout
    found = dumped.split('data-probe="')[1].split('"')[0]
    return json.loads(found.replace("&quot;", '"').replace("&amp;", "&"))


def test_the_console_is_silent(page: Path, tmp_path: Path) -> None:
    done = browse(page, tmp_path / "profile", "--dump-dom")
    assert "tiny study" in done.stdout
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []


def test_nothing_is_asked_for_even_without_the_policy(page: Path, tmp_path: Path) -> None:
    assert probed(page, tmp_path / "profile")["resources"] == []


def test_the_own_script_runs_under_the_policy(page: Path, tmp_path: Path) -> None:
    """A wrong hash blocks the page's own script and shows in the console: so its silence above means something."""
    broken = page.with_name("broken.html")
    broken.write_text(page.read_text().replace("sha256-", "sha256-A"))
    done = browse(broken, tmp_path / "profile", "--dump-dom")
    assert any("Content Security Policy" in line for line in done.stderr.splitlines())


def test_headings_sort_by_keyboard_and_say_so(page: Path, tmp_path: Path) -> None:
    found = probed(page, tmp_path / "profile")
    numbers = [float(value) for value in found["up"]]
    assert numbers == sorted(numbers)
    assert [float(value) for value in found["down"]] == sorted(numbers, reverse=True)
    assert [float(value) for value in found["first"]] != sorted(numbers)
    assert found["focused"]
    assert found["sort"] == "descending"
    assert "sorted by accuracy" in found["said"]


def test_dark_mode_turns_page_and_pictures(page: Path, tmp_path: Path) -> None:
    light = probed(page, tmp_path / "light")
    dark = probed(page, tmp_path / "dark", "--force-dark-mode", "--blink-settings=preferredColorScheme=0")
    assert light["page"] == "rgb(255, 255, 255)"
    assert dark["page"] == "rgb(13, 17, 23)"
    for seen in (light, dark):
        assert seen["picture"] == seen["ink"]


def test_a_narrow_screen_scrolls_tables_and_not_the_page(page: Path, tmp_path: Path) -> None:
    assert probed(page, tmp_path / "profile", "--window-size=500,900")["wide"]


def test_no_table_scrolls_on_a_desk(page: Path, tmp_path: Path) -> None:
    assert probed(page, tmp_path / "profile", "--window-size=1400,900")["scrolled"] == []
