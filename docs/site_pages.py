"""Hooks of MkDocs: documents outside docs/ become pages too (no copies), and links are theirs in the site.

A link to what is no page (a notebook, code, a folder) becomes its path. https://www.mkdocs.org/dev-guide/plugins/#events
"""

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = {"README.md": "index.md", "CHANGELOG.md": "CHANGELOG.md", "CONTRIBUTING.md": "CONTRIBUTING.md"}
OUTSIDE |= {"analysis/published/README.md": "published.md"}
OUTSIDE |= {str(p.relative_to(ROOT)): f"results/{p.name}" for p in sorted((ROOT / "benchmarks/results").glob("*.md"))}
SOURCE = {uri: path for path, uri in OUTSIDE.items()}  # the document of a page that is not in docs/
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Adds the documents that lie elsewhere."""
    for path, uri in OUTSIDE.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links as the site has them."""
    uri = page.file.src_uri
    folder = os.path.dirname(SOURCE.get(uri, f"docs/{uri}"))

    def in_site(link: re.Match[str]) -> str:
        image, text, target = link.groups()
        path, _, heading = target.partition("#")
        if "://" in target or target.startswith("mailto:") or not path:
            return link[0]
        document = os.path.normpath(os.path.join(folder, path))
        there = OUTSIDE.get(document, document.removeprefix("docs/"))
        if files.get_file_from_path(there) is None:
            return f"{text} (`{document}`)" if (ROOT / document).exists() else link[0]
        way = os.path.relpath(there, os.path.dirname(uri) or ".")
        return f"{image}[{text}]({way}{'#' * bool(heading)}{heading})"

    return LINK.sub(in_site, markdown)
