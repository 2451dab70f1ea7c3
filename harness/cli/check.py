"""`peftlab check FILE.yaml`, or `dataset=NAME`: whether a config is right, as the verbs that use it would find out."""

import json
import os
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from harness.cli.launchers import check_card
from harness.config.compose import compose_part, compose_plain
from harness.config.groups import GROUPS, choices, conf_dirs, look_again
from harness.config.overrides import assign
from harness.config.resolve import Resolver
from harness.config.yaml_file import check_name, check_yaml
from harness.ledger.errors import NotHere, SpecError, nearest
from harness.planning.plan import plan_sweep, read_request


def main(given: Namespace) -> int:
    """`ok` and what it is; or raises the one sentence on what is wrong, a HarnessError."""
    file = _file(str(given.file)).expanduser().resolve()
    kind = file.parent.name
    if not file.is_file() or file.suffix != ".yaml":
        raise SpecError(f"{given.file}: there is no such file of configs; its name ends in .yaml, or say dataset=NAME.")
    if kind not in GROUPS:
        raise SpecError(f"{file}: a config lies in a folder named for what it is: {', '.join(GROUPS)}; move it there.")
    raw = check_yaml(file)
    if kind != "tracker":
        check_name(file, raw)
    with _configs_from(file.parents[1]):
        said = CHECKS[kind](file.stem)
    if given.json:
        print(json.dumps({"file": str(file), "kind": kind, "name": file.stem, "ok": True, "said": said}))
    else:
        print(f"ok: {kind} {file.stem}: {said}")
    return 0


def _file(said: str) -> Path:
    """The file of `dataset=fruit`, one's own first; else what was said is a path."""
    group, found, name = said.partition("=")
    if not found or group not in GROUPS:
        return Path(said)
    if name not in choices(group):
        raise SpecError(f"{said}: there is no {group} of that name.{nearest(name, choices(group))}")
    return next(file for folder in conf_dirs() if (file := folder / group / f"{name}.yaml").is_file())


@contextmanager
def _configs_from(folder: Path) -> Iterator[None]:
    """Configs are looked for in this folder first, as if PEFTLAB_CONF named it."""
    before = os.environ.get("PEFTLAB_CONF")
    os.environ["PEFTLAB_CONF"] = str(folder)
    look_again()
    try:
        yield
    finally:
        os.environ.pop("PEFTLAB_CONF")
        os.environ.update({} if before is None else {"PEFTLAB_CONF": before})


def _dataset(name: str) -> str:
    """Reads the data, where it is here: columns, labels, and the templates on three rows."""
    spec = Resolver().part("dataset", [assign("dataset", name)]).spec
    from harness.cli.show import described

    try:
        view = described(spec)
    except NotHere as error:
        return f"a {spec.task.kind}, and its data is not at hand: {error}"
    chance = [line for line in view["facts"] if line.startswith("chance:")]
    rows = ", ".join(f"{split} {count:,}" for split, count in view["rows"].items())
    return f"{spec.task.kind}, rows: {rows}" + "".join(f"; {line}" for line in chance)


def _method(name: str) -> str:
    spec = Resolver().part("method", [assign("method", name)]).spec
    return f"{spec.update.kind} on {', '.join(spec.targets)}"


def _model(name: str) -> str:
    spec = Resolver().part("model", [assign("model", name)]).spec
    return f"{spec.kind} of the family {spec.family}"


def _recipe(name: str) -> str:
    """With each of its rates."""
    word = assign("recipe", name)
    rates = compose_part("recipe", [word]).get("lr")
    keys = list(map(str, rates)) if isinstance(rates, Mapping) else [""]
    specs = [Resolver().part("recipe", [word], rates=(key, *keys)).spec for key in keys]
    return "rate " + ", ".join(f"{spec.lr:g} {key}".rstrip() for key, spec in zip(keys, specs, strict=True))


def _sweep(name: str) -> str:
    """Plans it."""
    plan = plan_sweep(read_request([f"sweep={name}"]), Resolver())
    return f"{len(plan.runs):,} runs, {len(plan.skipped)} cells left out"


def _cluster(name: str) -> str:
    card = compose_part("cluster", [assign("cluster", name)])
    check_card(card)
    return f"launcher {card['kind']}"


def _tracker(name: str) -> str:
    compose_plain([assign("tracker", name)])  # it sets keys of the whole config
    return "a config that can be read"


CHECKS: dict[str, Callable[[str], str]] = {
    "dataset": _dataset, "method": _method, "model": _model, "recipe": _recipe, "sweep": _sweep, "cluster": _cluster,
    "tracker": _tracker,
}  # fmt: skip
