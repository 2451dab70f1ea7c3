"""The worker's default runner: a real run. Loads torch where it computes; a test's runner needs not."""

from collections.abc import Callable

from harness.config.settings import Settings
from harness.execution.ranks import run_ranks
from harness.ledger.plan import Planned
from harness.ledger.record import Record
from harness.ledger.store import Store
from harness.models.first_import import first_import


def run(
    planned: Planned, store: Store, settings: Settings | None, stop: Callable[[], bool] = lambda: False
) -> Record | None:
    """One run, here or in processes of its own; None when it was stopped and left a checkpoint."""
    assert settings is not None, "a real run has settings: the worker's --settings"
    if settings.processes > 1:
        return run_ranks(planned, store, settings, stop)
    with first_import("torch"):
        from harness.training.context import Stopped
        from harness.training.run import run_one

    try:
        return run_one(planned, store, settings, stop=stop)
    except Stopped:
        return None
