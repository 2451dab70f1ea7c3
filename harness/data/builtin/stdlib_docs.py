"""dataset=stdlib_docs: real English that every Python has: which module of the standard library is a docstring from?

Sources are read and parsed, never imported. A docstring loses every mention of its own module's name, and repeats are
dropped. The rows change a little with the Python version; their SHA-256 is in the record.
"""

import ast
import hashlib
import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.ledger.errors import DataError

# where a module keeps its text, when not under its own name
ALSO: Mapping[str, tuple[str, ...]] = {"datetime": ("_pydatetime",), "decimal": ("_pydecimal",)}
TESTS = {"test", "tests", "__pycache__"}


def fingerprint() -> str:
    """What the rows depend on beside the options; cheap."""
    return f"1/python {sys.version}"


def build(options: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Rows {key, text, module}: at most `per_module` of each of `modules`, `min_words` to `max_words` words long.

    Raises DataError when a module has no source here.
    """
    limits = int(options["min_words"]), int(options["max_words"])
    by_module = {module: _texts(module, limits) for module in options["modules"]}
    everywhere = _repeated(by_module.values())
    rows = []
    for module, texts in by_module.items():
        kept = sorted((text for text in texts if text not in everywhere), key=_order)[: int(options["per_module"])]
        rows += [{"key": _order(text)[:16], "text": text, "module": module} for text in kept]
    return {"train": rows}


def clean(text: str, module: str) -> str:
    """One line, without the module's name (whole words, any case, a leading underscore too)."""
    without = re.sub(rf"\b_?(?:py)?{re.escape(module)}\b\.?", " ", text, flags=re.IGNORECASE)
    return " ".join(without.split())


def _texts(module: str, limits: tuple[int, int]) -> set[str]:
    low, high = limits
    texts = (clean(docstring, module).split() for path in sources(module) for docstring in docstrings(path))
    return {" ".join(words[:high]) for words in texts if len(words) >= low}


def docstrings(path: Path) -> Iterator[str]:
    """Of every class and function in a source file."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and (
            text := ast.get_docstring(node)
        ):
            yield text


def sources(module: str) -> list[Path]:
    """The source files of a module or package, tests aside; raises DataError when there are none."""
    files = [path for name in (module, *ALSO.get(module, ())) for path in _files(name)]
    if not files:
        raise DataError(
            f"dataset stdlib_docs: this Python has no source of '{module}'; install the full standard library."
        )
    return files


def _files(name: str) -> list[Path]:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return []
    if spec.submodule_search_locations is None:
        return [Path(spec.origin)]
    folder = Path(spec.origin).parent
    return sorted(path for path in folder.rglob("*.py") if not TESTS & set(path.relative_to(folder).parts))


def _repeated(texts: Sequence[set[str]] | Any) -> set[str]:
    """Texts that more than one module has: no answer would be right."""
    seen: set[str] = set()
    twice: set[str] = set()
    for of_module in texts:
        twice |= seen & of_module
        seen |= of_module
    return twice


def _order(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
