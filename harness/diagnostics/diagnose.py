"""Diagnoses of finished runs, one after the other; what is there already is not measured again."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.config.settings import Settings
from harness.diagnostics.card_sets import sets_of
from harness.diagnostics.kinds import DEFAULTS, measure_of
from harness.diagnostics.subject import folder_of, load_subject
from harness.ledger.diagnoses import VERSIONS
from harness.ledger.errors import HarnessError, NothingToMeasure
from harness.ledger.paths import RunPaths
from harness.ledger.record import Record
from harness.ledger.side_record import SideRecord, path_of, read_all, write
from harness.ledger.store import Store
from harness.measure.cpu_matmul import fast_matmul
from harness.measure.environment import provenance
from harness.training.failures import message_of


@dataclass(frozen=True)
class Diagnosis:
    """How one kind of one run ended: measured now, there already, or why not."""

    run_id: str
    kind: str
    state: Literal["measured", "there", "left out", "failed"]
    why: str = ""


def diagnose(
    ids: Iterable[str], store: Store, settings: Settings, kinds: Sequence[str], asked: Mapping[str, Any]
) -> Iterator[Diagnosis]:
    """Each kind of each run as it ends. asked: `checkpoint`, and what differs from the kinds' defaults.

    A run without a score or without kept weights is left out; what goes wrong in one does not stop the others.
    """
    for run_id in ids:
        yield from _of_run(store.paths(run_id), store, settings, kinds, asked)


def question_of(kind: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """All that was asked for and could change the answer of a kind; sets of retention where a card names any."""
    defaults = DEFAULTS.get(kind, {})
    question = defaults | {key: value for key, value in asked.items() if key in defaults or key == "checkpoint"}
    sets = asked.get("retention") if kind == "forgetting" else None
    return question | ({"retention": list(sets)} if sets else {})


def _of_run(
    folder: RunPaths, store: Store, settings: Settings, kinds: Sequence[str], asked: Mapping[str, Any]
) -> Iterator[Diagnosis]:
    if (status := store.status(folder.id)) != "done":
        yield from (Diagnosis(folder.id, kind, "left out", f"it is {status}") for kind in kinds)
        return
    record = store.read(folder.id)
    asked = {**asked, "retention": sets_of(str(record.spec["dataset"]["name"]))}
    missing = [kind for kind in kinds if not _is_there(folder, kind, asked)]
    yield from (Diagnosis(folder.id, kind, "there") for kind in kinds if kind not in missing)
    try:
        if missing:
            folder_of(folder, record, asked["checkpoint"])
    except HarnessError as error:
        yield from (Diagnosis(folder.id, kind, "left out", str(error)) for kind in missing)
        return
    yield from _measured(folder, record, settings, missing, asked)


def _is_there(folder: RunPaths, kind: str, asked: Mapping[str, Any]) -> bool:
    wanted = SideRecord(kind, VERSIONS[kind], folder.id, question_of(kind, asked), {}, {})
    path = path_of(folder, wanted)
    return path.is_file() and any(side.digest == wanted.digest for side in read_all(folder, kind, wanted.version))


def _measured(
    folder: RunPaths, record: Record, settings: Settings, kinds: Sequence[str], asked: Mapping[str, Any]
) -> Iterator[Diagnosis]:
    subject = None
    for kind in kinds:
        try:
            subject = subject or load_subject(folder, record, settings, asked["checkpoint"])
            question = question_of(kind, asked)
            with fast_matmul(subject.device):
                answer = measure_of(kind)(subject, question)
            side = SideRecord(kind, VERSIONS[kind], folder.id, question, answer, provenance(subject.device))
            write(folder, side)
        except NothingToMeasure as error:
            yield Diagnosis(folder.id, kind, "left out", str(error))
        except (HarnessError, ArithmeticError, LookupError, ValueError, RuntimeError, OSError) as error:
            yield Diagnosis(folder.id, kind, "failed", message_of(error).splitlines()[0])
        else:
            yield Diagnosis(folder.id, kind, "measured")
