"""What is asked of which run: questions, those with an answer, and runs that kept nothing to measure. No torch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from harness.config.overrides import assign
from harness.config.resolve import Resolver
from harness.diagnostics.kinds import DEFAULTS
from harness.ledger.dataset_spec import DatasetSpec
from harness.ledger.diagnoses import VERSIONS
from harness.ledger.errors import DataError, HarnessError, SpecError
from harness.ledger.paths import RunPaths
from harness.ledger.record import Record
from harness.ledger.side_record import SideRecord, path_of, read_all
from harness.ledger.store import Store


@dataclass(frozen=True)
class Diagnosis:
    """How one kind of one run ended: measured now, there already, or why not."""

    run_id: str
    kind: str
    state: Literal["measured", "there", "left out", "failed"]
    why: str = ""


@dataclass(frozen=True)
class Unanswered:
    """The kinds that one run has no answer of, with all that is asked of it."""

    run_id: str
    kinds: tuple[str, ...]
    asked: Mapping[str, Any]


def sort_out(
    ids: Iterable[str], store: Store, kinds: Sequence[str], asked: Mapping[str, Any]
) -> tuple[list[Diagnosis], list[Unanswered]]:
    """What needs no measuring, and what does. asked: `checkpoint`, and what differs from the kinds' defaults.

    A run without a score or without kept weights is left out.
    """
    known: list[Diagnosis] = []
    todo: list[Unanswered] = []
    for run_id in ids:
        folder, status = store.paths(run_id), store.status(run_id)
        if status != "done":
            known += [Diagnosis(run_id, kind, "left out", f"it is {status}") for kind in kinds]
            continue
        record = store.read(run_id)
        mine: dict[str, Any] = {**asked, "retention": sets_of(str(record.spec["dataset"]["name"]))}
        missing = tuple(kind for kind in kinds if not _is_there(folder, kind, mine))
        known += [Diagnosis(run_id, kind, "there") for kind in kinds if kind not in missing]
        try:
            if missing:
                folder_of(folder, record, mine["checkpoint"])
                todo.append(Unanswered(run_id, missing, mine))
        except HarnessError as error:
            known += [Diagnosis(run_id, kind, "left out", str(error)) for kind in missing]
    return known, todo


def question_of(kind: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """All that was asked for and could change the answer of a kind; sets of retention where a card names any."""
    defaults = DEFAULTS.get(kind, {})
    question = defaults | {key: value for key, value in asked.items() if key in defaults or key == "checkpoint"}
    sets = asked.get("retention") if kind == "forgetting" else None
    return question | ({"retention": list(sets)} if sets else {})


def folder_of(folder: RunPaths, record: Record, checkpoint: str) -> Path:
    """Where the weights of a checkpoint are. The last one is the selected one when training ended with it.

    Raises DataError where they were not kept.
    """
    is_same = bool(record.curve) and record.selected.get("step") == record.curve[-1].step
    kept = folder.adapter if checkpoint == "selected" or is_same else folder.last
    if (kept / "state.safetensors").is_file():
        return kept
    if checkpoint == "last" and (folder.adapter / "state.safetensors").is_file():
        raise DataError("it kept its selected checkpoint alone; runs with keep_last=true keep the last one too.")
    raise DataError("it kept no weights; keep=all keeps those of full fine-tuning.")


@cache
def sets_of(dataset: str) -> tuple[str, ...]:
    """The retention sets that a dataset's card names now, whatever it named when the run was planned; none where the
    card has gone.
    """
    try:
        return card_of(dataset).retention
    except SpecError:
        return ()


def card_of(dataset: str) -> DatasetSpec:
    """The card of a dataset as it is now. Raises SpecError where there is none."""
    return Resolver().part("dataset", [assign("dataset", dataset)]).spec


def _is_there(folder: RunPaths, kind: str, asked: Mapping[str, Any]) -> bool:
    wanted = SideRecord(kind, VERSIONS[kind], folder.id, question_of(kind, asked), {}, {})
    path = path_of(folder, wanted)
    return path.is_file() and any(side.digest == wanted.digest for side in read_all(folder, kind, wanted.version))
