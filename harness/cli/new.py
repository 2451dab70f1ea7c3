"""`peftlab new KIND NAME`: a config of one's own that works at once, written where configs are looked for."""

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from harness.config.groups import choices, look_again, own_conf
from harness.ledger.errors import SpecError
from harness.ledger.names import check_plain
from harness.ledger.paths import write_whole

NEXT = {
    "dataset": "peftlab show dataset={name}",
}


def main(given: Namespace) -> int:
    """Write the config, say where it is and what comes next. Raises SpecError; then nothing is written."""
    path = _new_file(given.kind, given.name)
    text = MAKERS[given.kind](given)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)
    look_again()
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


def _dataset(given: Namespace) -> str:
    from harness.cli.new_dataset import dataset_card

    if given.source is None:
        raise SpecError("new dataset takes the data: --from FILE, or --from FOLDER with train and test in it.")
    return dataset_card(given.name, Path(given.source), given.label)


MAKERS: dict[str, Callable[[Namespace], str]] = {"dataset": _dataset}
