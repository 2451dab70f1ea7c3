"""Fields that came later leave the ids of every earlier run as they were."""

import hashlib

import pytest

from harness.config.resolve import Resolver
from harness.planning.plan import plan_sweep, read_request


@pytest.mark.parametrize(
    ("sweep", "count", "digest"), [("quickstart", 36, "632c84ed2470073d"), ("beyond_lora", 753, "e06ee4d4f6307cd9")]
)
def test_the_first_versions_ids_are_those_of_today(sweep, count, digest):
    ids = plan_sweep(read_request([f"sweep={sweep}"]), Resolver()).ids
    assert (len(ids), hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:16]) == (count, digest)
