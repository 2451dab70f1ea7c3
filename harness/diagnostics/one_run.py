"""All that is asked of one run, measured: it is put together once for all kinds."""

from collections.abc import Iterator

from harness.config.settings import Settings
from harness.diagnostics.kinds import measure_of
from harness.diagnostics.questions import Diagnosis, Unanswered, question_of
from harness.diagnostics.subject import load_subject
from harness.ledger.diagnoses import VERSIONS
from harness.ledger.errors import HarnessError, NothingToMeasure
from harness.ledger.side_record import SideRecord, write
from harness.ledger.store import Store
from harness.measure.cpu_matmul import fast_matmul
from harness.measure.environment import provenance
from harness.training.failures import message_of


def measured(todo: Unanswered, store: Store, settings: Settings) -> Iterator[Diagnosis]:
    """Each kind as its side record is written, or why there is none."""
    folder, record = store.paths(todo.run_id), store.read(todo.run_id)
    subject = None
    for kind in todo.kinds:
        try:
            subject = subject or load_subject(folder, record, settings, todo.asked["checkpoint"])
            question = question_of(kind, todo.asked)
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
