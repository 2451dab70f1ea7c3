"""Every check of one run, in order; and what they say of it."""

from collections.abc import Callable, Iterator
from pathlib import Path

from analysis.checks.clocks import clocks, event_times, finished, steps_fit
from analysis.checks.event_log import last_event, planned_steps, validation_events
from analysis.checks.evidence import Evidence, read_evidence
from analysis.checks.finding import Finding, Unproved
from analysis.checks.identity import identity, provenance, spec_file, vocabulary
from analysis.checks.planned_work import curve, planned_work
from analysis.checks.ranges import amounts, metrics, orders, parameters
from analysis.checks.scores import probabilities, scores, test_rows
from harness.ledger.errors import RecordError

CHECKS: tuple[tuple[str, Callable[[Evidence], Iterator[str]]], ...] = (
    ("identity", identity),
    ("identity", spec_file),
    ("vocabulary", vocabulary),
    ("provenance", provenance),
    ("range", metrics),
    ("range", amounts),
    ("range", orders),
    ("parameters", parameters),
    ("predictions", scores),
    ("predictions", test_rows),
    ("predictions", probabilities),
    ("planned work", planned_work),
    ("curve", curve),
    ("clocks", clocks),
    ("clocks", steps_fit),
    ("clocks", event_times),
    ("clocks", finished),
    ("event log", last_event),
    ("event log", validation_events),
    ("event log", planned_steps),
)


def check_run(folder: Path) -> tuple[Finding, ...]:
    """What is untrue, and what is unproved, of the run in `folder`; nothing where it has no record."""
    try:
        run = read_evidence(folder)
    except FileNotFoundError:
        return ()
    except (RecordError, ValueError, OSError) as error:
        return (Finding("record", folder.name, str(error), "refuted", (folder.name,)),)
    return check_evidence(run)


def check_evidence(run: Evidence) -> tuple[Finding, ...]:
    """The same, of evidence that is read already."""
    return tuple(finding for kind, check in CHECKS for finding in _of(kind, check, run))


def _of(kind: str, check: Callable[[Evidence], Iterator[str]], run: Evidence) -> Iterator[Finding]:
    """Records are anybody's files: a value of the wrong shape is one more sentence."""
    name = run.paths.id
    try:
        for text in check(run):
            yield Finding(kind, name, text, "refuted", (name,))
    except Unproved as gap:
        yield Finding(kind, name, str(gap), "unproved", (name,))
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, OSError, ZeroDivisionError) as error:
        yield Finding(kind, name, f"what is compared here is not of the right shape ({error!r})", "refuted", (name,))
