"""Every lie told in a store of four real runs is noticed and refused by tables; the honest store has no finding."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.audit import audit
from analysis.checks.between import between, facts_of
from analysis.checks.evidence import read_evidence
from analysis.load import load
from harness.cli.arguments import call
from harness.ledger.errors import RecordError
from harness.ledger.fingerprint import fingerprint
from harness.ledger.identity import run_id
from harness.ledger.parse import parse
from harness.ledger.plan import Plan, Planned, write_plan
from harness.ledger.spec import RunSpec

HONEST = Path(__file__).with_name("honest_runs")  # LoRA and cLA on digits, seeds 0 and 1, as the quickstart made them
LORA, OTHER_SEED, CLA = "58e0039b85a7e5b2", "7b3b91414ff3b457", "43f095a70a568b32"


def set_in(tree: Any, dotted: str, value: Any) -> None:
    *path, last = dotted.split("/")
    for word in path:
        tree = tree[int(word) if isinstance(tree, list) else word]
    tree[last] = value(tree[last]) if callable(value) else value


def edit(path: Path, **changes: Any) -> None:
    raw = json.loads(path.read_bytes())
    for dotted, value in changes.items():
        set_in(raw, dotted, value)
    path.write_text(json.dumps(raw))


def edit_end(run: Path, **changes: Any) -> None:
    """The same lie in the event log's last line."""
    *lines, last = (run / "events.jsonl").read_text().splitlines()
    end = json.loads(last)
    for name, value in changes.items():
        end[name] = value(end[name]) if callable(value) else value
    (run / "events.jsonl").write_text("\n".join([*lines, json.dumps(end)]) + "\n")


def in_record(**changes: Any) -> Callable[[Path], None]:
    return lambda runs: edit(runs / LORA / "record.json", **changes)


def in_spec(**changes: Any) -> Callable[[Path], None]:
    """The spec changed wherever the run's folder has it."""

    def lie(runs: Path) -> None:
        edit(runs / LORA / "spec.json", **changes)
        edit(runs / LORA / "record.json", **{f"spec/{key}": value for key, value in changes.items()})

    return lie


def in_log_too(**changes: Any) -> Callable[[Path], None]:
    """A quantity changed in the record and in the last line of the log."""

    def lie(runs: Path) -> None:
        edit(runs / LORA / "record.json", **{f"{key}/value": value for key, value in changes.items()})
        edit_end(runs / LORA, **{key.removeprefix("scores/"): value for key, value in changes.items()})

    return lie


def in_predictions(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    def lie(runs: Path) -> None:
        path = runs / LORA / "predictions.parquet"
        change(pd.read_parquet(path)).to_parquet(path, index=False)

    return lie


def shuffled(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(prediction=rows["prediction"].sample(frac=1, random_state=0).to_numpy())


def garbage(runs: Path) -> None:
    (runs / LORA / "predictions.parquet").write_bytes(b"garbage")


def made_right(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(prediction=rows["target"])


def perfect(runs: Path) -> None:
    """Predictions, record and log agree that all is right; the probabilities do not."""
    in_predictions(made_right)(runs)
    in_log_too(**{"scores/test/accuracy": 1.0, "scores/test/f1_macro": 1.0})(runs)


def easier_questions(runs: Path) -> None:
    """Targets changed to what the model said, its probabilities with them."""

    def change(rows: pd.DataFrame) -> pd.DataFrame:
        wrong = rows["target"] != rows["prediction"]
        rows.loc[wrong, ["score", "loss"]] = (0.9, 0.10536051565782628)
        return rows.assign(target=rows["prediction"])

    in_predictions(change)(runs)
    loss = float(pd.read_parquet(runs / LORA / "predictions.parquet")["loss"].mean())
    in_log_too(**{"scores/test/accuracy": 1.0, "scores/test/f1_macro": 1.0, "scores/test/loss": loss})(runs)


def copied(runs: Path) -> None:
    shutil.copy(runs / LORA / "record.json", runs / OTHER_SEED / "record.json")


def copied_whole(runs: Path) -> None:
    """Another seed's folder, with this one's seed and id written over it."""
    shutil.copytree(runs / LORA, runs / OTHER_SEED, dirs_exist_ok=True)
    edit(runs / OTHER_SEED / "spec.json", seed=1)
    edit(runs / OTHER_SEED / "record.json", id=OTHER_SEED, **{"spec/seed": 1})


def halved(*names: str) -> dict[str, Callable[[float], float]]:
    return dict.fromkeys(names, lambda value: value / 2)


def other_versions(runs: Path) -> None:
    """Versions and the fingerprint with them: another environment than the rest of the block."""
    path = runs / LORA / "record.json"
    edit(path, **{"provenance/packages/torch": "2.1.0"})
    edit(path, **{"provenance/fingerprint": fingerprint(json.loads(path.read_bytes())["provenance"])})


def failed_too(runs: Path) -> None:
    failure = {"kind": "oom", "phase": "train", "step": 3, "message": "", "traceback": ""}
    in_record(failure=failure)(runs)


def other_split(runs: Path) -> None:
    in_record(**{"data/splits/train/digest": "0" * 16})(runs)


def cherry_picked(runs: Path) -> None:
    """An earlier validation point is said to be the selected one."""
    raw = json.loads((runs / LORA / "record.json").read_bytes())
    point = raw["curve"][0]
    chosen = {"step": point["step"], "epoch": point["epoch"], "metric": "accuracy", "value": point["val"]["accuracy"]}
    in_record(selected=chosen)(runs)


LIES: dict[str, Callable[[Path], None]] = {
    "a score that its predictions do not give": in_record(**{"scores/test/accuracy/value": 0.999}),
    "the same in the log": in_log_too(**{"scores/test/accuracy": 0.999}),
    "a second metric": in_log_too(**{"scores/test/f1_macro": 0.999}),
    "a test loss": in_log_too(**{"scores/test/loss": 0.001}),
    "an accuracy of 5.0": in_log_too(**{"scores/test/accuracy": 5.0}),
    "a validation score": in_record(**{"scores/val/accuracy/value": 0.99}),
    "a number of examples": in_record(**{"scores/test/accuracy/n": 100_000}),
    "a unit of the score": in_record(**{"scores/test/accuracy/unit": "BLEU"}),
    "a unit of time": in_record(**{"seconds/eval/unit": "ms"}),
    "predictions cut": in_predictions(lambda rows: rows.head(100)),
    "predictions shuffled": in_predictions(shuffled),
    "predictions twice": in_predictions(lambda rows: pd.concat([rows, rows])),
    "predictions of garbage": garbage,
    "predictions made right": in_predictions(made_right),
    "predictions, score and log made right": perfect,
    "targets made easy": easier_questions,
    "a record copied over another seed's": copied,
    "a folder copied over another seed's": copied_whole,
    "recipe": in_spec(**{"recipe/batch_size": 64}),
    "learning rate": in_spec(**{"recipe/lr": 0.5}),
    "learning rate in the record alone": in_record(**{"spec/recipe/lr": 0.5}),
    "method": in_spec(**{"method/update/rank": 64}),
    "metric": in_spec(**{"dataset/metric": "f1_macro"}),
    "seed": in_spec(seed=7),
    "id": in_record(id="0123456789abcdef"),
    "train and wall seconds halved": in_log_too(**halved("seconds/train", "seconds/wall")),
    "every clock halved": in_log_too(
        **halved(*(f"seconds/{name}" for name in ("setup", "train", "eval", "checkpoint", "log", "wall")))
    ),
    "clocks that do not add up": in_log_too(**{"seconds/eval": lambda s: s + 1.0}),
    "negative seconds": in_log_too(**{"seconds/eval": -1.0}),
    "a step twice as quick": in_record(**{"speed/step_ms_median/value": lambda ms: ms / 2}),
    "less memory": in_record(**{"memory/train_peak_rss/value": lambda size: size / 2}),
    "a smaller ledger": in_record(**{"ledger/saved_for_backward/value": 1}),
    "fewer steps": in_log_too(**{"work/steps": 10}),
    "fewer examples": in_log_too(**{"work/examples_seen": 10}),
    "versions under one fingerprint": in_record(**{"provenance/packages/torch": "2.1.0"}),
    "another device under one fingerprint": in_record(**{"provenance/device/name": "NVIDIA H100"}),
    "threads under one fingerprint": in_record(**{"provenance/threads": 64}),
    "a fingerprint": in_record(**{"provenance/fingerprint": "0" * 12}),
    "versions that differ within a block": other_versions,
    "done with a failure": failed_too,
    "a status that is none": in_record(status="banana"),
    "failed with scores": in_record(status="failed"),
    "another checkpoint selected": cherry_picked,
    "a point of the curve": in_record(**{"curve/0/val/accuracy": 0.1}),
    "a learning rate of the curve": in_record(**{"curve/1/lr": 0.5}),
    "parameters": in_log_too(**{"parameters/adapter": 17}),
    "parameters, adding up": in_log_too(
        **{"parameters/adapter": lambda n: n - 1000, "parameters/trainable": lambda n: n - 1000}
    ),
    "the split's digest": other_split,
    "the test split's digest": in_record(**{"data/splits/test/digest": "0" * 16}),
    "finished on another day": in_record(**{"provenance/finished": "2020-01-01T00:00:00+00:00"}),
    "attempts": in_record(attempts=0),
    "a text where a number belongs": in_record(**{"curve/0/step": "many"}),
}
SEEN_BETWEEN_RUNS = ("versions that differ within a block", "the split's digest")  # true by itself, so never refused


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A copy of the honest runs, and their plan."""
    return _honest(tmp_path / "runs")


@pytest.fixture(scope="module")
def believed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The same with the cache of a load that found it true, and how many runs were done."""
    runs = _honest(tmp_path_factory.mktemp("believed") / "runs")
    return runs, int(load("four", runs).rows["done"].sum())


def _honest(runs: Path) -> Path:
    shutil.copytree(HONEST, runs)
    specs = {path.parent.name: json.loads(path.read_bytes()) for path in sorted(runs.glob("*/spec.json"))}
    planned = tuple(Planned(run, _choices(spec), spec) for run, spec in specs.items())
    write_plan(runs, Plan("four", planned, (), {"control": "lora"}))
    return runs


def _choices(spec: dict[str, Any]) -> dict[str, Any]:
    return {axis: spec[axis]["name"] for axis in ("method", "model", "dataset", "recipe")} | {"seed": spec["seed"]}


def findings(runs: Path) -> Iterator[tuple[str, str, str]]:
    for finding in audit(load("four", runs, partial=True, allow_mixed=True)):
        if finding.kind not in ("time outlier", "incomplete cell"):
            yield finding.kind, finding.level, finding.what


def test_an_honest_store_has_no_finding(store: Path) -> None:
    assert list(findings(store)) == []
    assert load("four", store).notes == ()


def test_the_ids_of_the_honest_store_are_those_of_their_specs(store: Path) -> None:
    for path in store.glob("*/spec.json"):
        assert run_id(parse(RunSpec, json.loads(path.read_bytes()), "run")) == path.parent.name


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_noticed_and_names_its_run(believed: tuple[Path, int], tmp_path: Path, lie: str) -> None:
    store = tmp_path / "runs"
    shutil.copytree(believed[0], store)  # what was believed before is not believed from its cache
    LIES[lie](store)
    assert list(findings(store)) != []
    if lie in SEEN_BETWEEN_RUNS:
        with pytest.raises(RecordError, match="--allow-mixed"):
            load("four", store)
        return
    with pytest.raises(RecordError, match=r"the record cannot be true|is damaged: "):
        load("four", store)
    frame = load("four", store, partial=True)
    lost = frame.rows[frame.rows["status"] == "damaged"]
    assert 1 <= len(lost) <= 2 and lost["score"].isna().all()
    assert frame.rows["done"].sum() == believed[1] - len(lost)
    assert "believable" in frame.notes[0]


def test_a_record_without_its_evidence_is_shown_with_a_mark(store: Path) -> None:
    for name in ("predictions.parquet", "events.jsonl", "spec.json"):
        (store / LORA / name).unlink()
    frame = load("four", store)
    assert frame.rows["done"].all()
    assert frame.notes[0].startswith("Not proved: 1 records lack evidence")
    assert {level for _, level, _ in findings(store)} == {"unproved"}


def test_the_audit_does_not_believe_its_own_cache(store: Path) -> None:
    load("four", store)
    (kept,) = store.glob(".analysis/four-*.proofs.parquet")
    in_record(**{"scores/test/accuracy/value": 0.999})(store)
    stamped = pd.read_parquet(kept)
    frame = load("four", store, partial=True)
    stamped.assign(stamp=pd.read_parquet(kept)["stamp"].to_numpy(), findings="[]").to_parquet(kept, index=False)
    assert any(kind == "predictions" for kind, _, _ in findings(store))
    assert len(frame.rows) == 4


def test_the_verbs_say_it(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["sweep=four", "--runs", str(store)]
    assert call("audit", where) == 0
    assert "every check passed" in capsys.readouterr().out
    in_record(**{"scores/test/accuracy/value": 0.999})(store)
    assert call("audit", [*where, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)["findings"]
    assert {"predictions", "event log"} <= {finding["kind"] for finding in told}
    assert all(LORA in finding["runs"] for finding in told if finding["level"] == "refuted")
    with pytest.raises(RecordError, match=r"cannot be true.*0\.999.*peftlab audit"):
        call("report", [*where, "--out", str(tmp_path / "report")])


def test_runs_of_two_contents_of_one_dataset_need_not_have_answered_the_same_questions():
    facts = []
    for content in ("0" * 16, None):
        run = read_evidence(HONEST / (LORA if content else CLA))
        dataset = {**run.dataset, **({"content": content} if content else {})}
        run = replace(run, record=replace(run.record, spec={**run.record.spec, "dataset": dataset}))
        facts.append(replace(facts_of(run), targets=f"other answers of {content}"))
    assert between(facts) == ()
    alike = [replace(each, dataset=facts[0].dataset) for each in facts]
    assert {finding.level for finding in between(alike)} == {"refuted"}
