"""`peftlab new KIND NAME`: a config of one's own that works at once, written where configs are looked for."""

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from harness.cli.check import CHECKS
from harness.config.groups import choices, look_again, own_conf
from harness.config.overrides import Assignment, expand
from harness.ledger.errors import HarnessError, SpecError
from harness.ledger.names import check_plain
from harness.ledger.paths import write_whole

NEXT = {
    "dataset": "peftlab show dataset={name}",
    "method": "peftlab show method={name}",
    "model": "peftlab show model={name}",
    "recipe": "peftlab show recipe={name}",
    "sweep": "peftlab plan sweep={name}",
    "cluster": "peftlab doctor cluster={name}",
}


def main(given: Namespace) -> int:
    """Write the config, say where it is and what comes next. Raises HarnessError; then nothing is left."""
    path = _new_file(given.kind, given.name)
    if given.label is not None and given.kind != "dataset":
        raise SpecError(f"--label: a {given.kind} has no column to predict; it is for new dataset.")
    text = MAKERS.get(given.kind, _card)(given)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)
    look_again()
    _check(given.kind, path)
    after = NEXT[given.kind].format(name=given.name)
    if given.json:
        print(json.dumps({"file": str(path), "next": after}))
    else:
        print(f"written: {path}\nnext:    {after}")
    return 0


def _new_file(kind: str, name: str) -> Path:
    """The place of a new config: never one that is there, nor one that would hide another."""
    check_plain(name, "NAME")
    path = own_conf() / kind / f"{name}.yaml"
    if path.exists():
        raise SpecError(f"{path} is there already and stays as it is; choose another name, or edit it.")
    if name in choices(kind):
        raise SpecError(f"there is a {kind} '{name}' already; choose another name.")
    return path


def _check(kind: str, path: Path) -> None:
    """As its verbs will read it; a dataset was held against its data before. What is wrong does not stay."""
    try:
        if kind != "dataset":
            CHECKS[kind](path.stem)
    except HarnessError:
        path.unlink()
        look_again()
        raise


def _dataset(given: Namespace) -> str:
    from harness.cli.new_dataset import dataset_card

    if given.source is None:
        raise SpecError("new dataset takes the data: --from FILE, or --from FOLDER with train and test in it.")
    if given.overrides:
        raise SpecError(f"{given.overrides[0].input_line}: new dataset takes no settings; edit the new file.")
    return dataset_card(given.name, Path(given.source), given.label)


def _card(given: Namespace) -> str:
    from harness.cli.new_card import card_from, own_words

    return card_from(given.kind, given.name, given.source, own_words(given.kind, _words(given)))


def _cluster(given: Namespace) -> str:
    from harness.cli.new_card import cluster_card, own_words

    return cluster_card(given.name, given.source, own_words("cluster", _words(given)))


def _sweep(given: Namespace) -> str:
    from harness.cli.new_card import known_axes, sweep_card

    axes = {override.key_or_group: expand(override) for override in given.overrides}
    return sweep_card(given.name, given.source, known_axes(axes))


def _words(given: Namespace) -> list[Assignment]:
    words = [word for override in given.overrides for word in expand(override)]
    if len(words) > len(given.overrides):
        raise SpecError(f"{words[0].key}: a setting has one value; lists of values are for new sweep.")
    return words


MAKERS: dict[str, Callable[[Namespace], str]] = {"dataset": _dataset, "sweep": _sweep, "cluster": _cluster}
