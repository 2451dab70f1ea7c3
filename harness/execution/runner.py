"""The worker's default runner: a real run. Loads torch; a test's runner needs not."""

from harness.config.settings import Settings
from harness.ledger.plan import Planned
from harness.ledger.record import Record
from harness.ledger.store import Store
from harness.training.context import Stop, Stopped
from harness.training.run import run_one


def run(planned: Planned, store: Store, settings: Settings | None, stop: Stop) -> Record | None:
    """One run; None when it was stopped and left a checkpoint."""
    assert settings is not None, "a real run has settings: the worker's --settings"
    try:
        return run_one(planned, store, settings, stop=stop)
    except Stopped:
        return None
