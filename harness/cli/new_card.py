"""`peftlab new method|model|recipe|sweep|cluster NAME`: the text of a config that starts from another one."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.cli.launchers import USUAL_CARD
from harness.config.cards import card, card_file
from harness.config.compose import compose_part
from harness.config.overrides import Assignment, assign
from harness.config.resolve import TYPE, library_method
from harness.config.yaml_file import dumped, quoted, value_text
from harness.ledger.errors import SpecError, nearest

BASES = {"method": "lora", "model": "minilm", "recipe": "default"}
ANNOTATED = "example_site"  # the cluster whose comments say what each key is for
SWEPT = ("method", "model", "dataset", "recipe")
METHODS = ("full", "head", "lora", "cla")
FITTING = {  # kind of task -> a model and a recipe that are a first try
    "image_classification": ("vit_micro", "quick_image"),
    "vision_language": ("gemma3_micro", "quick_vision_language"),
    "causal_lm": ("gpt2_small", "quick_text"),
    "generation": ("gpt2_small", "quick_text"),
    "choice": ("gpt2_small", "quick_text"),
}
SEEDS = ("0", "1", "2")


def card_from(kind: str, name: str, base: str | None, words: Sequence[Assignment]) -> str:
    """A method, model or recipe: what it starts from, the settings that were typed, and all others as comments."""
    base = base or BASES[kind]
    if any(word.key == TYPE for word in words):
        return _of_the_library(name, [assign(kind, base), *words])
    composed = compose_part(kind, [assign(kind, base), *words])
    about = card(kind, base).get("about", {})
    own = {"about": {**about, "label": name, "source": f"your own, from {about.get('label', base)}"}}
    changed = _nested({word.key.removeprefix(f"{kind}."): _at(composed, word.key) for word in words})
    rest = {key: value for key, value in card(kind, base).items() if key not in ("name", "about", "defaults")}
    return "\n".join([
        f"# Written by `peftlab new {kind} {name}`: {base}, but for what stands here.",
        f"defaults: [{base}, _self_]",
        f"name: {quoted(name)}",
        *([dumped(changed)] if changed else []),
        dumped(own),
        f"# Settings of {base}. To change one, write it above `about`, in the same place of the tree.",
        *(f"# {line}" for line in dumped(rest).splitlines()),
        "",
    ])  # fmt: skip


def _of_the_library(name: str, words: Sequence[Assignment]) -> str:
    """A type of the peft library, whole: another type's options would be none of its own."""
    method = library_method(words)
    about = {**method["about"], "label": name, "source": f"your own, from {method['about']['label']}"}
    return f"# Written by `peftlab new method {name}`.\n{dumped(method | {'name': name, 'about': about})}\n"


def sweep_card(name: str, base: str | None, axes: Mapping[str, Sequence[Assignment]]) -> str:
    """A sweep of the axes that were typed; what was not is a first try. With a base: that one's file, renamed."""
    if base is not None:
        if axes:
            raise SpecError(f"{next(iter(axes))}: with --from the grid is that of {base}; edit the new file.")
        return _renamed(card_file("sweep", base).read_text(encoding="utf-8"), name)
    typed = {key: [value_text(word.text) for word in words] for key, words in axes.items() if key != "seed"}
    dataset = axes["dataset"][0].shown if "dataset" in axes else "stdlib_docs"
    model, recipe = FITTING.get(_task(dataset), ("minilm", "quick_text"))
    tried = {"method": list(METHODS), "model": [model], "dataset": [dataset], "recipe": [recipe]}
    grid = tried | typed
    seeds = [word.shown for word in axes["seed"]] if "seed" in axes else SEEDS
    control = "lora" if "lora" in grid["method"] else grid["method"][0]
    first, *others = (f"{key}: [{', '.join(values)}]" for key, values in grid.items())
    return "\n".join([
        f"# Written by `peftlab new sweep {name}`. What it would run and cost: peftlab plan sweep={name}",
        f"name: {quoted(name)}",
        f"title: {quoted(name)}",
        f"seeds: [{', '.join(seeds)}] # fewer than three support no claim",
        "grids: # each is the product of its lists; several are united",
        f"  - {first}",
        *(f"    {line}" for line in others),
        "exclude: [] # [{where: {method: full}, because: a sentence}]",
        "set: [] # [{where: {method: full}, set: {recipe.epochs: 5}}]",
        f"control: {control} # differences are shown against this method",
        "margin: 1.0 # points below the control that still count as competitive",
        "",
    ])  # fmt: skip


def cluster_card(name: str, base: str | None, words: Sequence[Assignment]) -> str:
    """A cluster, with the values of the base and of the words; where the annotated one has its keys, with comments."""
    base = base or USUAL_CARD
    composed = compose_part("cluster", [assign("cluster", base), *words])
    values = composed | {"name": name, "about": {"label": name, "source": "your own"}}
    if values.keys() != card("cluster", ANNOTATED).keys():
        return f"# Written by `peftlab new cluster {name}`, from {base}.\n{dumped(values)}\n"
    annotated = card_file("cluster", ANNOTATED).read_text(encoding="utf-8").splitlines()[1:]
    lines = [line.replace(" # change; ", " # ").removesuffix(" # change") for line in annotated if line[:1] != " "]
    filled = [re.sub(r"^(\w+):[^#]*?( #.*)?$", lambda line: _filled(line, values), line) for line in lines]
    head = f"# Written by `peftlab new cluster {name}`. Then: peftlab sweep SWEEP cluster={name}"
    return "\n".join([head, *filled, ""])


def _filled(line: re.Match[str], values: Mapping[str, Any]) -> str:
    """`key: value # comment` with the value of this card."""
    return f"{dumped({line[1]: values[line[1]]})}{line[2] or ''}"


def _task(dataset: str) -> str:
    return str(card("dataset", dataset).get("task", {}).get("kind"))


def _renamed(text: str, name: str) -> str:
    return re.sub(r"^name:.*$", f"name: {quoted(name)}", text, count=1, flags=re.MULTILINE)


def _at(tree: Mapping[str, Any], key: str) -> Any:
    """The value at `method.update.rank` of a composed method."""
    value: Any = tree
    for part in key.split(".")[1:]:
        value = value[part]
    return value


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """`update.rank`: 8 as `{update: {rank: 8}}`."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *above, last = key.split(".")
        place = tree
        for part in above:
            place = place.setdefault(part, {})
        place[last] = value
    return tree


def own_words(kind: str, words: Sequence[Assignment]) -> list[Assignment]:
    """The words, each a setting of this kind. Raises SpecError for any other."""
    for word in words:
        if word.axis != kind or word.key == kind or word.sign == "~":
            raise SpecError(f"{word.word}: new {kind} takes settings of a {kind}, as in {kind}.KEY=VALUE.")
    if name := next((word for word in words if word.key == f"{kind}.name"), None):
        raise SpecError(f"{name.word}: the name is that of the file; write it after new {kind}.")
    return list(words)


def known_axes(axes: Mapping[str, Sequence[Assignment]]) -> Mapping[str, Sequence[Assignment]]:
    """The axes of a sweep. Raises SpecError for a key that is none."""
    for key, words in axes.items():
        if words[0].axis not in (*SWEPT, "seed", "source"):
            raise SpecError(f"{key}: a sweep has no such axis.{nearest(key, (*SWEPT, 'seed'))}")
    return axes
