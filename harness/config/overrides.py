"""The words of a command line, read once by Hydra's own parser, and the values of a yaml, as the same objects.

An `Assignment` is one key with one value. It travels through grid, plan and resolver; `word` is what Hydra composes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, OverrideType, Quote, QuotedString
from hydra.errors import HydraException

from harness.config.groups import GROUPS, choices
from harness.ledger.errors import SpecError, nearest

ALIASES = {"size": "model.size", "peft.type": "method.update.type"}
OPTIONS = "method.update.options."
SIGNS = {OverrideType.CHANGE: "", OverrideType.ADD: "+", OverrideType.FORCE_ADD: "++", OverrideType.DEL: "~"}
_BARE = re.compile(r"[A-Za-z_][\w./-]*", re.ASCII)
_LITERALS = {"null", "true", "false", "nan", "inf"}


@dataclass(frozen=True)
class Assignment:
    """One key and one value of it, or with the sign `~` a key that is taken out."""

    key: str  # dotted, as the config has it
    text: str  # the value in Hydra's grammar: equal values have equal texts
    shown: str  # the value for people: a text without its quotes
    sign: Literal["", "+", "++", "~"] = ""

    @cached_property
    def word(self) -> str:
        """As it would be typed."""
        return f"~{self.key}" if self.sign == "~" and not self.text else f"{self.sign}{self.key}={self.text}"

    @cached_property
    def axis(self) -> str:
        """The part of a run that it touches: method, model, dataset or recipe."""
        return self.key.partition(".")[0]


def assign(key: str, value: Any, sign: str = "") -> Assignment:
    """The assignment of a plain value; `size` and `peft.r` are written out. Raises SpecError for a key that is none."""
    if not isinstance(key, str):
        raise SpecError(f"{key!r}: a key is a text, as in recipe.lr.")
    sign, key = _canonical(key, sign)
    text = _grammar(value)
    return Assignment(key, text, value if isinstance(value, str) else text, sign)  # type: ignore[arg-type]


def assign_from_yaml(key: str, value: Any) -> Assignment:
    """The assignment of a yaml's value. A text that Hydra reads as null, a number, a list … is that ("null", "[2]"), as
    it would be on the command line; any other is itself, blanks and signs included."""
    return assign(key, _typed(value) if isinstance(value, str) else value)


def parse_words(words: Sequence[str]) -> list[Override]:
    """Hydra's overrides, under canonical keys; the bare name of a sweep is that sweep. Raises SpecError."""
    return [_override(f"sweep={word}" if word in choices("sweep") else word) for word in words]


def expand(override: Override) -> list[Assignment]:
    """What one override stands for: `method=lora,cla` gives two assignments, `seed=range(3)` three."""
    key, sign = override.key_or_group, SIGNS[override.type]  # type: ignore[index]
    if override.is_delete():
        text = override.get_value_element_as_str()
        return [Assignment(key, text, text, "~")]
    if not override.is_sweep_override():
        return [assign(key, _unquoted(override._value), sign)]
    if isinstance(pattern := override.value(), Glob):
        values: list[Any] = list(pattern.filter(list(choices(key))))
    elif override.is_discrete_sweep():
        values = [_unquoted(value) for value in override.sweep_iterator(lambda value: value)]
    else:
        raise SpecError(f"{override.input_line}: only lists, range(...) and glob(...) can be swept.")
    return _distinct([assign(key, value, sign) for value in values], override)


def _distinct(assignments: list[Assignment], override: Override) -> list[Assignment]:
    if not assignments:
        known = nearest("", choices(override.key_or_group)) if override.key_or_group in GROUPS else ""
        raise SpecError(f"{override.input_line}: this stands for no value at all.{known}")
    if len(set(assignments)) < len(assignments):
        twice = next(each for each in assignments if assignments.count(each) > 1)
        raise SpecError(f"{override.input_line}: {twice.shown} is there twice; name each value once.")
    return assignments


def _override(word: str) -> Override:
    """One word, read. What Hydra's parser says of its tokens is put in words of ours."""
    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException:
        raise SpecError(_unreadable(word)) from None
    key = override.key_or_group
    if key.startswith("hydra"):
        raise SpecError(
            f"{key}: Hydra composes the config here and starts nothing; where runs are done is "
            f"cluster=NAME, with one of: {', '.join(choices('cluster'))}."
        )
    if override.package is not None or not key:
        raise SpecError(
            f"'{word}': {'a key has no @' if key else 'the key is absent'}; write key=value, as in method=lora."
        )
    if key in GROUPS and override.type is not OverrideType.CHANGE:
        raise SpecError(f"'{word}': there is always exactly one {key}; write {key}=NAME.{nearest('', choices(key))}")
    sign, override.key_or_group = _canonical(key, SIGNS[override.type])  # type: ignore[index]
    override.type = next(kind for kind, its in SIGNS.items() if its == sign)
    return override


def _unreadable(word: str) -> str:
    """Why a word cannot be read, and how it would be written."""
    key, equals, value = word.partition("=")
    if re.fullmatch(r"[0-9a-f]{6,16}", word):
        return f"'{word}' reads as a run's id: `peftlab explain {word}`, or `peftlab logs {word}`."
    if not equals:
        hint = nearest(word, choices("sweep")) if re.fullmatch(r"[\w-]+", word) else ""
        return f"cannot read '{word}': write key=value, as in method=lora, or the name of a sweep.{hint}"
    if not re.fullmatch(r"(\+\+|[+~])?[A-Za-z_][\w.@/-]*", key) or key.endswith("."):
        return f"cannot read '{word}': '{key}' is not a key; write key=value, as in method=lora or recipe.lr=1e-3."
    as_text = QuotedString(value, Quote.double).with_quotes()
    pairs = "brackets and quotes come in pairs, and a text with signs in it is quoted"
    return f"{key}: cannot read the value {value!r}; {pairs}: '{key}={as_text}'"


def _canonical(key: str, sign: str) -> tuple[str, str]:
    """A key as the config has it, with its sign: `size` is model.size; `peft.r` an option of the library's, in the yaml
    or not."""
    given, key = key[: len(key) - len(key.lstrip("+~"))], key.lstrip("+~")
    if key.startswith("source."):  # of the run that this one starts from
        sign, inner = _canonical(key.removeprefix("source."), sign or given)
        return sign, f"source.{inner}"
    if key.startswith("peft.") and key not in ALIASES:
        return "++", OPTIONS + key.removeprefix("peft.")
    return sign or given, ALIASES.get(key, key)


def _grammar(value: Any) -> str:
    """A plain value in Hydra's grammar."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, str):
        plain = _BARE.fullmatch(value) and value.lower() not in _LITERALS
        return value if plain else QuotedString(value, Quote.single).with_quotes()
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_grammar(str(key))}:{_grammar(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_grammar, value))}]"
    return str(value)


def _unquoted(value: Any) -> Any:
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_unquoted(item) for item in value]
    if isinstance(value, dict):
        return {_unquoted(key): _unquoted(item) for key, item in value.items()}
    return value


@cache
def _typed(text: str) -> Any:
    """What Hydra reads in a text, where that is not itself a text or a sweep; else the text."""
    try:
        override = OverridesParser.create().parse_override(f"value={text}")
    except HydraException:
        return text
    value = override._value
    quoted = isinstance(value, QuotedString)
    return text if override.is_sweep_override() or (isinstance(value, str) and not quoted) else _unquoted(value)
