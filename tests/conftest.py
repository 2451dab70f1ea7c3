"""What every room's tests share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def peftlab_cache(request) -> Path:
    """Prepared data and built-in models, kept between test sessions: they are made from fixed seeds."""
    return Path(request.config.cache.mkdir("peftlab"))
