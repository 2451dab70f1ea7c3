"""What every room's tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings


@pytest.fixture(scope="session")
def peftlab_cache(request) -> Path:
    """Prepared data and built-in models, kept between test sessions: they are made from fixed seeds."""
    return Path(request.config.cache.mkdir("peftlab"))


# The same examples each time, so that a test that passes once passes always; `make explore` draws anew.
settings.register_profile("fixed", derandomize=True, database=None)
settings.register_profile("explore", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))
