"""Methods that somebody else wrote, in a package and a yaml of their own, through the real loop."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

import harness.training.loop as loop_module
from harness.__main__ import main
from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.ledger.errors import PlanError, SpecError
from harness.ledger.parse import parse
from harness.ledger.store import Store
from harness.planning.plan import plan_one, read_request
from harness.training.context import Stopped
from harness.training.run import run_one
from methods.spec import ScheduleSpec, UpdateSpec
from tests.growing import install

ROOT = Path(__file__).parents[2]
WORDS = ("model=vit_micro", "dataset=digits", "recipe.max_steps=12", "recipe.evaluations=3", "tracker=none",
         "device=cpu", "keep=all")  # fmt: skip


@pytest.fixture
def others(tmp_path, monkeypatch):
    """Somebody else's package, installed."""
    folder = tmp_path / "others"
    folder.mkdir()
    install(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PEFTLAB_CONF", str(folder / "conf"))
    yield folder


@pytest.fixture
def planned(tmp_path, peftlab_cache, others):
    def plan(*words, store="runs"):
        request = read_request([*WORDS, f"runs={tmp_path / store}", f"cache={peftlab_cache}", *words])
        settings = settings_from(request.config)
        return plan_one(request, Resolver()), Store(settings.runs), settings

    return plan


def test_one_file_and_one_yaml_are_a_method_from_plan_to_export(others, tmp_path, peftlab_cache):
    environment = os.environ | {"PYTHONPATH": str(others), "OMP_NUM_THREADS": "1"}
    runs = tmp_path / "runs"
    command = [sys.executable, "-m", "harness", "run", *WORDS, "method=gated", f"runs={runs}", f"cache={peftlab_cache}"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (record,) = (json.loads(path.read_text()) for path in runs.glob("*/record.json"))
    assert record["status"] == "done" and record["spec"]["method"]["update"]["kind"] == "gated_low_rank"
    tensors = load_file(runs / record["id"] / "adapter" / "state.safetensors")
    gates = [tensor for name, tensor in tensors.items() if name.endswith(".gate")]
    assert gates and all(gate.shape == (8,) and not torch.equal(gate, torch.ones(8)) for gate in gates)
    assert main(["export", record["id"], str(tmp_path / "adapter"), f"runs={runs}", f"cache={peftlab_cache}"]) == 0
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()


def test_planning_a_builtin_kind_imports_neither_torch_nor_what_others_registered(others):
    code = (
        "import sys; from harness.config.overrides import assign; from harness.config.resolve import Resolver; "
        "Resolver().part('method', [assign('method', 'cola')]);"
        "print(sorted({'torch', 'gated', 'halved'} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": str(others)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("family", "kind", "sentence"),
    [
        (UpdateSpec, "gated_low_rnk", "unknown choice 'gated_low_rnk'. Did you mean 'gated_low_rank'?"),
        (UpdateSpec, "broken", "'broken' is registered as no_such_module:Broken, which cannot be imported"),
        (UpdateSpec, "../no/name", "'../no/name' (gated:GatedLowRank) is no name of a kind: small letters"),
        (UpdateSpec, "Two Words", "'Two Words' (gated:GatedLowRank) is no name of a kind: small letters"),
        (UpdateSpec, "halved", "which is no frozen dataclass of methods.spec.UpdateSpec with kind"),
        (ScheduleSpec, "mistaken", "which is no frozen dataclass of methods.spec.ScheduleSpec with kind"),
    ],
)
def test_a_kind_that_cannot_be_used_is_one_sentence(others, family, kind, sentence):
    with pytest.raises(SpecError) as caught:
        parse(family, {"kind": kind}, "method.update")
    assert sentence in str(caught.value) and str(caught.value).startswith("method.update.kind: ")


def test_a_change_that_has_no_room_is_refused_when_planning(planned):
    with pytest.raises(PlanError, match="the rank is halved at step 12 of 12"):
        planned("method=gated_halved", "method.schedule.at=12")
    with pytest.raises(PlanError, match="a chain of 13 links needs as many optimizer steps; the run has 12"):
        planned("method=gated_chain", "method.schedule.links=13")


@pytest.mark.parametrize("method", ["gated", "gated_chain", "gated_halved"])
def test_a_run_stopped_after_a_change_goes_on_bit_for_bit(planned, monkeypatch, method):
    """The link ends, and the rank is halved, after step 6; the run is stopped a step later, with new moments."""
    plan, straight_store, settings = planned(f"method={method}")
    straight = run_one(plan, straight_store, settings)
    assert straight.failure is None, straight.failure
    _, store, settings = planned(f"method={method}", store="stopped")
    done, step = [], loop_module._step
    monkeypatch.setattr(loop_module, "_step", lambda *given: (step(*given), done.append(given[-1].step + 1))[0])
    with pytest.raises(Stopped):
        run_one(plan, store, settings, stop=lambda: len(done) >= 7)
    assert done == list(range(1, 8))
    resumed = run_one(plan, store, settings)
    assert done == list(range(1, 13)) and resumed.attempts == 2 and resumed.failure is None
    assert resumed.scores == straight.scores and resumed.links == straight.links
    assert [(p.train_loss, p.val) for p in resumed.curve] == [(p.train_loss, p.val) for p in straight.curve]
    ours, theirs = (load_file(s.paths(plan.id).adapter / "state.safetensors") for s in (straight_store, store))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    tables = [pq.read_table(s.paths(plan.id).predictions) for s in (straight_store, store)]
    assert tables[0].equals(tables[1])


def test_a_halved_rank_is_recorded_logged_and_counted(planned):
    plan, store, settings = planned("method=gated_halved")
    record = run_one(plan, store, settings)
    assert list(record.links) == [{"step": 6, "rank": 4}]
    events = [json.loads(line) for line in store.paths(plan.id).events.read_text().splitlines()]
    assert [(e["step"], e["rank"]) for e in events if e["event"] == "rank"] == [(6, 4)]
    tensors = load_file(store.paths(plan.id).adapter / "state.safetensors")
    ranks = {tensor.shape[0] for name, tensor in tensors.items() if name.endswith(".gate")}
    assert ranks == {4 if record.selected["step"] > 6 else 8}
