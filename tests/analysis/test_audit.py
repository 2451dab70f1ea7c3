"""Each thing planted in the records is found, and a clean sweep has no finding."""

from dataclasses import replace

import pytest

from analysis.audit import audit
from analysis.load import load
from harness.ledger.quantity import Measured
from harness.ledger.record import Failure, Record


def only(method: str, dataset: str, seed: int):
    def chosen(record: Record) -> bool:
        spec = record.spec
        return (spec["method"]["name"], spec["dataset"]["name"], spec["seed"]) == (method, dataset, seed)

    return chosen


CHOSEN = only("cla", "mrpc", 1)


def planted(**changes):
    return lambda record: replace(record, **changes) if CHOSEN(record) else record


def at_chance(record: Record) -> Record:
    return replace(
        record, scores={**record.scores, "test": {"accuracy": Measured(0.24, "", 500), "loss": Measured(2.0, "nats")}}
    )


def other_batch(record: Record) -> Record:
    return replace(record, spec={**record.spec, "recipe": {**record.spec["recipe"], "batch_size": 16}})


def other_rate(record: Record) -> Record:
    return replace(record, spec={**record.spec, "recipe": {**record.spec["recipe"], "lr": 3e-4}})


def slow(record: Record) -> Record:
    slower = {"step_ms_median": Measured(310.0, "ms", 80), "step_ms_p95": Measured(400.0, "ms", 80)}
    return replace(record, speed={**record.speed, **slower})


def lost_time(record: Record) -> Record:
    return replace(record, seconds={**record.seconds, "wall": Measured(60.0, "s")})


def counted_wrong(record: Record) -> Record:
    return replace(record, parameters={**record.parameters, "adapter": Measured(17, "count")})


def diverged(record: Record) -> Record:
    return replace(record, status="failed", failure=Failure("diverged", "train", 9, "loss is nan"), scores={}, curve=())


def other_data(record: Record) -> Record:
    return replace(record, data={**record.data, "hash": "another"})


def other_commit(record: Record) -> Record:
    return replace(record, provenance={**record.provenance, "git": {"commit": "feedc0de", "dirty": True}})


def kinds(runs) -> set[str]:
    """What stands out in records without their evidence: what is only unproved is left out."""
    findings = audit(load("tiny", runs, partial=True, allow_mixed=True))
    return {finding.kind for finding in findings if finding.level != "unproved"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (at_chance, {"score at chance", "seed far off"}),
        (other_batch, {"differing settings"}),
        (other_rate, set()),
        (slow, {"time outlier"}),
        (lost_time, {"clocks", "incomplete cell"}),
        (counted_wrong, {"parameters", "incomplete cell"}),
        (diverged, {"incomplete cell", "mean over survivors"}),
        (other_data, {"differing data"}),
        (other_commit, {"mixed commits", "modified code"}),
    ],
)
def test_what_is_planted_is_found_and_nothing_else(written, change, expected: set[str]) -> None:
    assert kinds(written(edit=lambda record: change(record) if CHOSEN(record) else record)) == expected


@pytest.mark.parametrize(("share", "expected"), [(1.005, set()), (1.05, {"clocks"}), (0.95, {"clocks"})])
def test_clocks_may_be_a_hundredth_off_and_no_more(written, share: float, expected: set[str]) -> None:
    def off(record: Record) -> Record:
        wall = share * record.seconds["wall"].value
        return replace(record, seconds={**record.seconds, "wall": Measured(wall, "s")})

    assert kinds(written(edit=lambda record: off(record) if CHOSEN(record) else record)) & {"clocks"} == expected


def test_a_clean_sweep_has_no_finding(written) -> None:
    assert kinds(written()) == set()


def test_mixed_environments_are_found(written) -> None:
    def mixed(record: Record) -> Record:
        return replace(record, provenance={**record.provenance, "fingerprint": f"env{record.spec['seed']}"})

    assert "mixed environments" in kinds(written(edit=mixed))


def test_a_hole_is_found(written) -> None:
    assert kinds(written(missing=(("cla", "minilm", "mrpc", 1),))) == {"incomplete cell"}
