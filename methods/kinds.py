"""Parts of a spec that are told apart by their `kind`: those of `methods.spec`, and those that others register.

Another package adds a kind by an entry point of the group `peftlab.methods`, whose name is the kind and whose value is
its dataclass: `gated = "my_module:Gated"`. It is imported when a config names it, never before. Standard library only.
"""

import re
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Self, get_args, get_type_hints

GROUP = "peftlab.methods"
NAME = re.compile(r"[a-z][a-z0-9_-]*")
OWN = ("methods.spec", "methods.rank_spec", "methods.squeeze_spec")  # where the project's own kinds are


class Kind:
    """Base of a family of dataclasses with a field `kind: Literal["its name"]`."""

    kind: str

    @classmethod
    def names(cls) -> list[str]:
        """Every kind of this family that is at hand, and every registered one, which may be of another family."""
        return sorted({*_own(cls), *_registered()})

    @classmethod
    def own(cls) -> dict[str, type[Self]]:
        """The project's own kinds, by name."""
        return _own(cls)

    @classmethod
    def of_kind(cls, kind: str) -> type[Self] | None:
        """The dataclass of a kind; None when nobody has it. Raises LookupError, a sentence, when it cannot be used."""
        if own := _own(cls).get(kind):
            return own
        return _load(cls, kind) if kind in _registered() else None


@cache
def _own(family: type) -> dict[str, type]:
    """The project's kinds; those of others are found by their entry point alone, whoever imported them."""
    classes = [*family.__subclasses__()]
    for each in classes:
        classes += each.__subclasses__()
    return {_name(each): each for each in classes if each.__module__ in OWN and _name(each)}


def _name(each: type) -> str:
    return next(iter(get_args(get_type_hints(each).get("kind"))), "")


def _registered() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


@cache
def _load(family: type, kind: str) -> type:
    point = _registered()[kind]
    if not NAME.fullmatch(kind):
        raise LookupError(f"'{kind}' ({point.value}) is no name of a kind: small letters, digits, - and _")
    try:
        loaded = point.load()
    except Exception as error:  # broad: it is another's module, and may raise anything while it is imported
        raise LookupError(f"'{kind}' is registered as {point.value}, which cannot be imported: {error}") from error
    if not (isinstance(loaded, type) and issubclass(loaded, family) and _name(loaded) == kind):
        needed = f"no frozen dataclass of methods.spec.{family.__name__} with kind: Literal['{kind}']"
        raise LookupError(f"'{kind}' is registered as {point.value}, which is {needed}")
    return loaded
