"""Fields that came later leave the ids of every earlier run as they were."""

import hashlib
from dataclasses import replace

import pytest

from harness.config.resolve import Resolver
from harness.ledger.identity import run_id
from harness.ledger.parse import parse
from harness.ledger.plan import Planned
from harness.ledger.spec import RunSpec
from harness.planning.plan import plan_sweep, read_request


@pytest.mark.parametrize(
    ("sweep", "count", "digest"), [("quickstart", 36, "632c84ed2470073d"), ("beyond_lora", 753, "e06ee4d4f6307cd9")]
)
def test_the_first_versions_ids_are_those_of_today(sweep, count, digest):
    """PaCA alone has another default now, a stream of its own: without it, its ids are those of then.

    Full fine-tuning of Llama-3-8B joined later.
    """
    runs = plan_sweep(read_request([f"sweep={sweep}"]), Resolver()).runs
    then = [run for run in runs if (run.choices["method"], run.choices["model"]) != ("full", "llama3_8b")]
    ids = [_without_stream(run) for run in then]
    assert (len(ids), hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:16]) == (count, digest)


def _without_stream(run: Planned) -> str:
    spec = parse(RunSpec, run.spec, "run")
    if spec.method.name != "paca":
        return run.id
    return run_id(replace(spec, method=replace(spec.method, update=replace(spec.method.update, stream=None))))
