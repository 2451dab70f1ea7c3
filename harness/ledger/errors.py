"""The errors a person can cause. The command line prints their one sentence and exits with 2, without a traceback."""

import difflib
from collections.abc import Iterable


class HarnessError(Exception):
    """Something a person can mend; the message says what, where, the valid choices and the next step."""


class SpecError(HarnessError):
    """A config that cannot become a spec: an unknown key or choice, or a value of the wrong type."""


class PlanError(HarnessError):
    """A sweep that cannot become a plan, or a plan that cannot be started now."""


class RecordError(HarnessError):
    """A record, or a set of records, that does not hold what is asked of it."""


class RecordVersionError(RecordError):
    """A record of a version that this one cannot read."""


class DataError(HarnessError):
    """Data or weights that are not here, or are not what their card says."""


class NotHere(DataError):
    """Data or weights that this machine cannot get at now: a wrong PEFTLAB_MIRROR, no network, a package that is not
    installed. The run is not to blame and leaves no record."""


class NothingToMeasure(DataError):
    """A kind of diagnosis that has no meaning for this run: it is left out, and nothing went wrong."""


class NodeError(HarnessError):
    """This machine's trouble (a full disk, a file server, the network), not the run's: it stays unfinished."""


def nearest(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'lora'? Known: cla, full, …` for error sentences."""
    names = sorted(known)
    begins = sorted((other for other in names if len(name) > 1 and other.startswith(name)), key=len)  # acc: accuracy
    near = begins[:1] or difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"{hint} Known: {', '.join(names)}."
