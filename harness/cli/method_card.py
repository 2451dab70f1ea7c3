"""The card of a method that is named by a path: a Python file, a yaml, or both of one name side by side.

What is of a file is LoRA but for its part, so that nothing else differs: fields without a value take LoRA's.
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from harness.config.cards import card
from harness.config.groups import choices, look_again, own_conf
from harness.config.method_file import kinds_of_file
from harness.config.yaml_file import check_name, check_yaml, dumped
from harness.ledger.errors import SpecError
from harness.ledger.identity import to_plain
from harness.ledger.paths import write_whole
from methods.kinds import Kind
from methods.spec import UpdateSpec

MARK = "# Written by `peftlab check-method`"
LIKE = "lora"


def method_of_path(path: Path, kept: Path) -> str:
    """The name of the method of a path; its card is written among one's own configs, anew each time, its code `kept`.

    Raises SpecError when it is none, or when another method has its name.
    """
    code, yaml = path.with_suffix(".py"), path.with_suffix(".yaml")
    home = own_conf() / "method" / f"{path.stem}.yaml"
    if path == yaml or yaml.is_file():
        check_name(yaml, check_yaml(yaml))
    is_there = home.is_file() and yaml.is_file() and home.samefile(yaml)
    if path.stem in choices("method") and not is_there and not _is_ours_to_write(home):
        raise SpecError(f"{path}: there is a method '{path.stem}' already; give the file another name.")
    kinds = kinds_of_file(code, kept) if path == code or code.is_file() else {}
    if not is_there:
        text = yaml.read_text(encoding="utf-8") if yaml.is_file() else f"{dumped(_card(code, kinds))}\n"
        home.parent.mkdir(parents=True, exist_ok=True)
        source = yaml if yaml.is_file() else code
        write_whole(home, f"{MARK} from {source.name}, anew each time; your own is {yaml.name} beside it.\n{text}")
        look_again()
    return path.stem


def _is_ours_to_write(home: Path) -> bool:
    return home.is_file() and home.read_text(encoding="utf-8").startswith(MARK)


def _card(file: Path, kinds: Mapping[str, type[Kind]]) -> dict[str, Any]:
    """LoRA with the one part of the file."""
    if len(kinds) > 1:
        raise SpecError(
            f"{file} defines {len(kinds)} kinds ({', '.join(kinds)}); say in {file.stem}.yaml beside it which the "
            "method is made of, as conf/method/*.yaml do."
        )
    ((kind, part),) = kinds.items()
    like = card("method", LIKE)
    place = "update" if issubclass(part, UpdateSpec) else "schedule"
    values = {field.name: _value(field, like[place], file) for field in fields(part) if field.name != "kind"}  # type: ignore[arg-type]
    about = {"label": file.stem, "source": file.name, "formula": _first_line(part) or f"as {file.name} computes it"}
    return like | {"name": file.stem, place: {"kind": kind, **values}, "about": about}


def _value(field: "Field[Any]", like: Mapping[str, Any], file: Path) -> Any:
    """Its default, else LoRA's value of that name."""
    if field.default is not MISSING:
        return to_plain(field.default)
    if field.default_factory is not MISSING:
        return to_plain(field.default_factory())
    if field.name not in like:
        raise SpecError(f"{file}: {field.name} has no default; give it one, or write it in {file.stem}.yaml beside it.")
    return like[field.name]


def _first_line(part: type) -> str:
    """Of its docstring, where it is not the one that `dataclass` writes."""
    said = (part.__doc__ or "").strip()
    return "" if said.startswith(f"{part.__name__}(") else said.partition("\n")[0]
