"""What the site has beside the files of docs/: pages of the top folder, and links that lead out of both.

Hooks of MkDocs: https://www.mkdocs.org/dev-guide/plugins/#events.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "CONTRIBUTING.md", "CHANGELOG.md": "CHANGELOG.md"}
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages of the top folder."""
    for name, page in PAGES.items():
        text = _as_in_docs((ROOT / name).read_text(encoding="utf-8"))
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links to other files of the repository become the names of these files: the site holds documents alone."""
    return LINK.sub(_link, markdown)


def _as_in_docs(text: str) -> str:
    """Links of a page of the top folder, as a page of docs/ would have them."""

    def moved(link: re.Match[str]) -> str:
        mark, words, path, heading = link.groups("")
        place = path.removeprefix("docs/") if path.startswith("docs/") else f"../{path}"
        return f"{mark}[{words}]({place}{heading})"

    return LINK.sub(moved, text)


def _link(link: re.Match[str]) -> str:
    mark, words, path, heading = link.groups("")
    if not path.startswith("../"):
        return link[0]
    path = path.removeprefix("../")
    if path in PAGES:
        return f"{mark}[{words}]({PAGES[path]}{heading})"
    return f"{words} (`{path}`)" if path not in words else f"`{path}`"
