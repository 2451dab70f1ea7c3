"""Parts of a spec that are told apart by their `kind`: those of `methods.spec`, and those that others register.

Another package adds a kind by an entry point of the group `peftlab.methods`, whose name is the kind and whose value is
its dataclass: `gated = "my_module:Gated"`. It is imported when a config names it, never before. A single file does as
a package where `harness.config.method_file` keeps it. Standard library only.
"""

import hashlib
import re
import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Self, get_args, get_type_hints

GROUP = "peftlab.methods"
NAME = re.compile(r"[a-z][a-z0-9_-]*")
OWN = ("methods.spec", "methods.rank_spec", "methods.squeeze_spec")  # where the project's own kinds are
FILE = "peftlab_file_"  # how the module of a single file begins


class Kind:
    """Base of a family of dataclasses with a field `kind: Literal["its name"]`."""

    kind: str

    @classmethod
    def names(cls) -> list[str]:
        """Every kind of this family that is at hand, and every registered one, which may be of another family."""
        return sorted({*_own(cls), *registered()})

    @classmethod
    def own(cls) -> dict[str, type[Self]]:
        """The project's own kinds, by name."""
        return _own(cls)

    @classmethod
    def of_kind(cls, kind: str) -> type[Self] | None:
        """The dataclass of a kind; None when nobody has it. Raises LookupError, a sentence, when it cannot be used."""
        if own := _own(cls).get(kind):
            return own
        point = registered().get(kind)
        return None if point is None else _load(cls, point)


def kind_name(part: type) -> str:
    """The one literal of its field `kind`; "" where it has none. Raises NameError for a hint that names nothing."""
    return next(iter(get_args(get_type_hints(part).get("kind"))), "")


def registered() -> dict[str, EntryPoint]:
    """The kinds of other packages, by name; of two distributions of one name the first on the path counts."""
    return {point.name: point for point in entry_points(group=GROUP)}


def file_digest(*parts: Kind) -> str | None:
    """16 hex digits of the SHA-256 of the single file that one of these parts is from, else None."""
    for name in (type(part).__module__ for part in parts):
        if name.startswith(FILE):
            return digest_of(Path(str(sys.modules[name].__file__)).read_bytes())
    return None


def digest_of(text: bytes) -> str:
    """16 hex digits of the SHA-256 of a file's text."""
    return hashlib.sha256(text).hexdigest()[:16]


@cache
def _own(family: type) -> dict[str, type]:
    """The project's kinds; those of others are found by their entry point alone, whoever imported them."""
    classes = [*family.__subclasses__()]
    for each in classes:
        classes += each.__subclasses__()
    return {kind_name(each): each for each in classes if each.__module__ in OWN and kind_name(each)}


@cache
def _load(family: type, point: EntryPoint) -> type:
    kind = point.name
    if not NAME.fullmatch(kind):
        raise LookupError(f"'{kind}' ({point.value}) is no name of a kind: small letters, digits, - and _")
    try:
        loaded = point.load()
    except Exception as error:  # broad: it is another's module, and may raise anything while it is imported
        raise LookupError(f"'{kind}' is registered as {point.value}, which cannot be imported: {error}") from error
    if not (isinstance(loaded, type) and issubclass(loaded, family) and kind_name(loaded) == kind):
        needed = f"no frozen dataclass of methods.spec.{family.__name__} with kind: Literal['{kind}']"
        raise LookupError(f"'{kind}' is registered as {point.value}, which is {needed}")
    return loaded
