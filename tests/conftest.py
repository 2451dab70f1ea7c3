"""What every room's tests share."""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import composed

composed.keep()
os.fsync = lambda fd: None  # what a test writes need not outlive a power cut
gc.disable()  # while test files are imported: none of what that makes is garbage


def pytest_collection_finish() -> None:
    """From here on garbage is collected as ever, but what is imported is not looked through each time."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="module", autouse=True)
def _nothing_old_is_looked_through_again():
    """Nor what earlier files left: a collection then takes milliseconds, and the probe asks for many."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def peftlab_cache(request) -> Path:
    """Prepared data and built-in models, kept between test sessions: they are made from fixed seeds."""
    return Path(request.config.cache.mkdir("peftlab"))


# The same examples each time, so that a test that passes once passes always; `make explore` draws anew.
# No example has a time limit: a machine that stands still for a while fails no test.
UNTIMED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("fixed", derandomize=True, database=None, **UNTIMED)
settings.register_profile("explore", derandomize=False, **UNTIMED)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))
