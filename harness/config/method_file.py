"""A part of a method in a single Python file, used without a package of its own.

Its text is kept under its digest, beside the entry points that a package would declare, on the path of this process and
of those that it starts: what a run is of stays what it was, whatever becomes of the file.
"""

import importlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from types import ModuleType

from harness.ledger.errors import SpecError
from harness.ledger.names import check_plain
from harness.ledger.paths import write_whole
from methods.kinds import FILE, GROUP, Kind, digest_of, kind_name, registered

HOW = "a frozen dataclass of methods.spec.SiteUpdateSpec with a field kind: Literal['its name'] (CONTRIBUTING.md)"


def kinds_of_file(file: Path, kept: Path) -> dict[str, type[Kind]]:
    """The kinds that a file defines, by name, ready for every config of this process; its text goes into `kept`.

    Raises SpecError for a file that cannot be imported, that defines none, or whose kind has the name of another.
    """
    try:
        text = file.read_bytes()
    except OSError as error:
        raise SpecError(f"{file}: {error.strerror}; name a Python file, a card (.yaml) or a method.") from error
    stem, digest = check_plain(file.stem, str(file)), digest_of(text)
    module = f"{FILE}{re.sub(r'[^0-9A-Za-z_]', '_', stem)}_{digest}"
    folder = kept.resolve() / f"{stem}-{digest}"
    if os.pathsep in str(folder):
        raise SpecError(f"{folder}: a '{os.pathsep}' parts folders of PYTHONPATH; give another store: runs=DIR.")
    is_new = not folder.exists()
    write_whole(_made(folder) / f"{module}.py", text)
    _put_on_path(folder)
    try:
        found = {kind_name(part): part for part in _parts(_imported(module, file), file)}
        _register(folder, stem, {kind: f"{module}:{part.__name__}" for kind, part in found.items()})
        _check(file, found)
    except SpecError:
        if is_new:
            shutil.rmtree(folder)  # nothing can be of it
        raise
    return found


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _put_on_path(folder: Path) -> None:
    """Of this process, and of those that it starts."""
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != str(folder)]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *others])
    sys.path[:] = [str(folder), *(path for path in sys.path if path != str(folder))]
    importlib.invalidate_caches()


def _imported(module: str, file: Path) -> ModuleType:
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:  # broad: it is another's code, and may raise anything
        said = str(error).splitlines()[0] if str(error) else ""
        raise SpecError(
            f"{file} cannot be imported: {type(error).__name__}: {said.rstrip('.')}. It is read alone; several files "
            "are a package with an entry point (CONTRIBUTING.md)."
        ) from error


def _parts(module: ModuleType, file: Path) -> Iterator[type[Kind]]:
    """The kinds that it defines itself, those without a name left out: they are bases of others."""
    for part in vars(module).values():
        if isinstance(part, type) and issubclass(part, Kind) and part.__module__ == module.__name__:
            try:
                named = kind_name(part)
            except NameError as error:
                raise SpecError(f"{file}: {part.__name__}: {error}.") from error
            if named and not is_dataclass(part):
                raise SpecError(f"{file}: {part.__name__} is no dataclass; a kind is {HOW}.")
            if named:
                yield part


def _register(folder: Path, stem: str, points: dict[str, str]) -> None:
    """What a package says of itself when it is installed."""
    facts = _made(folder / f"{FILE}{stem}-0.dist-info")
    write_whole(facts / "METADATA", f"Metadata-Version: 2.1\nName: {FILE}{stem}\nVersion: 0\n")
    lines = [f"[{GROUP}]", *(f"{kind} = {place}" for kind, place in points.items())]
    write_whole(facts / "entry_points.txt", "\n".join([*lines, ""]))
    importlib.invalidate_caches()


def _check(file: Path, found: dict[str, type[Kind]]) -> None:
    if not found:
        raise SpecError(f"{file} defines no kind of update; one is {HOW}.")
    for kind, part in found.items():
        if kind in Kind.own():
            raise SpecError(f"{file}: the kind '{kind}' is the project's own; give {part.__name__} another name.")
        if (point := registered().get(kind)) and point.value != f"{part.__module__}:{part.__name__}":
            raise SpecError(f"{file}: the kind '{kind}' is of an installed package ({point.value}) too; rename one.")
        try:
            part.of_kind(kind)
        except LookupError as error:
            raise SpecError(f"{file}: {error}.") from error
