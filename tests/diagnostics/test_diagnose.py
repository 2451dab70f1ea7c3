"""`peftlab diagnose`: finished runs are measured from what they kept, each question once, and stay as they were."""

import copy
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from harness.__main__ import main
from harness.cli.diagnose import after_sweep
from harness.config.overrides import parse_words
from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.diagnostics.generalization import chosen_rows
from harness.diagnostics.kinds import DEFAULTS, KINDS
from harness.diagnostics.subject import load_subject
from harness.ledger.diagnoses import VERSIONS
from harness.ledger.plan import read_plan, write_plan
from harness.ledger.side_record import read_all
from harness.ledger.store import Store
from harness.planning.plan import plan_sweep, request_of
from harness.training.run import run_one

KINDS_AT_END = ["generalization", "bounds"]
RUNS = ("model=vit_micro", "dataset=digits", "recipe=quick_image", "recipe.max_steps=6", "recipe.evaluations=3")


@pytest.fixture(scope="module")
def swept(tmp_path_factory, peftlab_cache):
    """A store of two finished runs, one of which kept no weights: its ids by method, and the words that name it."""
    root = tmp_path_factory.mktemp("diagnose")
    words = [f"runs={root / 'runs'}", f"cache={peftlab_cache}", "device=cpu"]
    typed = ["method=lora,full", *RUNS, *words, "tracker=none", "keep_last=true"]
    request = request_of(parse_words(typed))
    settings, plan = settings_from(request.config), plan_sweep(request, Resolver())
    write_plan(settings.runs, plan)
    for planned in plan.runs:
        assert run_one(planned, Store(settings.runs), settings).status == "done"
    store = Store(root / "runs")
    return store, {record.spec["method"]["name"]: record.id for record in store.records()}, [plan.name, *words]


@pytest.fixture
def fresh(swept, tmp_path):
    """The same in a copy of its own."""
    store, ids, words = swept
    shutil.copytree(store.root, tmp_path / "runs")
    return Store(tmp_path / "runs"), ids, [f"runs={tmp_path / 'runs'}", *words[2:], f"sweep={words[0]}"]


def _diagnose(capsys, *words):
    capsys.readouterr()
    code = main(["diagnose", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)["diagnoses"]


def test_each_question_is_answered_once_and_the_run_stays_as_it_was(fresh, capsys):
    store, ids, words = fresh
    before = {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
    code, first = _diagnose(capsys, "kinds=generalization", *words)
    assert code == 0 and {row["run_id"]: row["state"] for row in first} == {
        ids["lora"]: "measured",
        ids["full"]: "left out",
    }
    assert "keep=all" in next(row["why"] for row in first if row["run_id"] == ids["full"])
    _, second = _diagnose(capsys, "kinds=generalization", *words)
    assert {row["run_id"]: row["state"] for row in second}[ids["lora"]] == "there"
    assert all(path.read_bytes() == text for path, text in before.items())
    added = {p.relative_to(store.root).parts[1] for p in store.root.rglob("*") if p.is_file() and p not in before}
    assert added == {"generalization"}


def test_a_sweep_measures_what_its_yaml_names_at_its_end_and_says_nothing_the_second_time(fresh, capsys):
    store, ids, words = fresh
    config = request_of(parse_words(words[:3])).config
    plan = replace(
        read_plan(store.root, words[3].removeprefix("sweep=")), about={"diagnose": {"kinds": KINDS_AT_END, "rows": 9}}
    )
    capsys.readouterr()
    after_sweep(plan, settings_from(config), config["cluster"])
    said = capsys.readouterr()
    assert "2 measured, 0 there, 2 left out, 0 failed" in said.err and said.out == ""
    questions = [side.question for kind in KINDS_AT_END for side in read_all(store.paths(ids["lora"]), kind, 1)]
    assert questions == [{"checkpoint": "selected", "rows": 9}, {"checkpoint": "selected"}]
    after_sweep(plan, settings_from(config), config["cluster"])
    assert capsys.readouterr().err.strip() == ""


def test_the_quickstart_names_its_kinds_in_the_order_in_which_they_are_measured():
    about = plan_sweep(request_of(parse_words(["sweep=quickstart", "seed=0"])), Resolver()).about
    assert about["diagnose"]["kinds"] == ["generalization", "intruders", "geometry"]


def test_a_diagnosis_that_fails_is_one_sentence_and_the_others_go_on(fresh, capsys):
    store, ids, words = fresh
    (store.paths(ids["lora"]).adapter / "state.safetensors").write_bytes(b"no tensors")
    code, rows = _diagnose(capsys, "kinds=generalization", *words)
    failed = [row for row in rows if row["state"] == "failed"]
    assert code == 1 and len(rows) == 2 and [row["run_id"] for row in failed] == [ids["lora"]]
    assert "\n" not in failed[0]["why"] and failed[0]["why"]


def test_a_damaged_side_record_is_measured_again(fresh, capsys):
    store, ids, words = fresh
    _diagnose(capsys, "kinds=generalization", *words)
    file = next((store.root / ids["lora"] / "generalization").glob("*.json"))
    whole = file.read_bytes()
    file.write_bytes(whole[:40])
    assert {row["state"] for row in _diagnose(capsys, "kinds=generalization", *words)[1]} == {"measured", "left out"}
    assert json.loads(file.read_bytes())["answer"] == json.loads(whole)["answer"]


def test_the_gap_is_that_of_a_plain_loop_in_float64(fresh, capsys):
    """The oracle merges the update and evaluates example after example in double precision."""
    store, ids, words = fresh
    for checkpoint in ("selected", "last"):
        _diagnose(capsys, "kinds=generalization", f"checkpoint={checkpoint}", "rows=50", *words)
    folder, record = store.paths(ids["lora"]), store.read(ids["lora"])
    sides = {side.question["checkpoint"]: side.answer for side in read_all(folder, "generalization", 1)}
    assert set(sides) == {"selected", "last"}
    for checkpoint, answer in sides.items():
        settings = settings_from(request_of(parse_words(words[:3])).config)
        subject = load_subject(folder, record, settings, checkpoint)
        model = copy.deepcopy(subject.merged).double().eval()
        loss = {}
        for name, split in (("train", subject.data.train), ("test", subject.data.test)):
            rows = chosen_rows([split[row]["id"] for row in range(len(split))], 50)
            assert len(rows) == 50
            batch = subject.task.collate([split[row] for row in rows], None)
            pixels = batch.inputs["pixel_values"].double()
            with torch.no_grad():
                logits = model(pixel_values=pixels).logits
            loss[name] = float(torch.nn.functional.cross_entropy(logits, batch.targets))
            assert answer[name]["loss"] == pytest.approx(loss[name], abs=1e-5)
        assert answer["gap"] == pytest.approx(loss["test"] - loss["train"], abs=2e-5)
        assert answer["g"] == abs(answer["gap"])


def test_bounds_count_what_is_trained_and_take_the_norms_of_a_dense_svd(fresh, capsys):
    store, ids, words = fresh
    assert _diagnose(capsys, "kinds=bounds", *words)[0] == 0
    folder, record = store.paths(ids["lora"]), store.read(ids["lora"])
    answer = read_all(folder, "bounds", 1)[0].answer
    tensors = load_file(folder.adapter / "state.safetensors")
    sites = [name.removesuffix(".a") for name in tensors if name.startswith("adapter.") and name.endswith(".a")]
    counted = sum(tensors[f"{site}.{factor}"].numel() for site in sites for factor in "ab")
    assert (answer["parameters"], answer["links"], answer["bits"]) == (counted, 1, 32)
    wanted = math.sqrt(2 * math.log(2) * 32 * counted / record.data["splits"]["train"]["n"])
    assert answer["count_bound"] == pytest.approx(wanted)
    update = record.spec["method"]["update"]
    scale = update["alpha"] / update["rank"]
    deltas = [scale * tensors[f"{site}.b"].double() @ tensors[f"{site}.a"].double() for site in sites]
    whole = math.sqrt(sum(float((delta**2).sum()) for delta in deltas))
    assert answer["update_norm"] == pytest.approx(whole, rel=1e-4)
    settings = settings_from(request_of(parse_words(words[:3])).config)
    before = [change.before for change in load_subject(folder, record, settings, "selected").changes]
    w = [np.linalg.svd(weight.double().numpy(), compute_uv=False)[0] for weight in before]
    d = [np.linalg.svd(delta.numpy(), compute_uv=False)[0] for delta in deltas]
    theirs = math.log(2 * (math.prod(a + b for a, b in zip(w, d, strict=True)) - math.prod(w)))
    assert answer["layerwise_log_phi_delta"] == pytest.approx(theirs, abs=1e-3)


def test_kinds_about_weights_are_those_of_dense_decompositions(fresh, capsys):
    store, ids, words = fresh
    code, rows = _diagnose(capsys, "kinds=intruders,geometry,amplification,subspaces", *words)
    assert code == 0 and [row["state"] for row in rows if row["run_id"] == ids["lora"]] == ["measured"] * 4
    folder, record = store.paths(ids["lora"]), store.read(ids["lora"])
    intruding, shaped, amplified = (
        read_all(folder, kind, 1)[0].answer["weights"] for kind in ("intruders", "geometry", "amplification")
    )
    settings = settings_from(request_of(parse_words(words[:3])).config)
    changes = load_subject(folder, record, settings, "selected").changes
    for change, intruder, shape, amplification in zip(changes, intruding, shaped, amplified, strict=True):
        before, after = change.before.double(), change.after.double()
        (u, _, _), (y, _, _) = torch.linalg.svd(before), torch.linalg.svd(after)
        nearest = (u.T @ y).abs().amax(0)
        assert intruder["path"] == shape["path"] == amplification["path"] == change.path
        assert list(intruder["all"])[:20] == [int((nearest < step / 20).sum()) for step in range(20)]
        assert list(intruder["first"])[:20] == [int((nearest[:10] < step / 20).sum()) for step in range(20)]
        left, spectrum, right = torch.linalg.svd(after - before)
        assert shape["spectrum"][:4] == pytest.approx(spectrum[:4].tolist(), rel=1e-6)
        assert shape["relative_norm"] == pytest.approx(float((after - before).norm() / before.norm()))
        inside = float((left[:, :4].T @ before @ right[:4].T).norm())
        assert amplification["factor"] == pytest.approx(float(spectrum.norm()) / inside, rel=1e-4)
    middle = sorted({change.layer for change in changes})[len({change.layer for change in changes}) // 2]
    wanted = [change for change in changes if change.layer == middle]
    directions = read_all(folder, "subspaces", 1)[0].answer["weights"]
    for change, row in zip(wanted, directions, strict=True):
        left, spectrum, right = torch.linalg.svd(change.after.double() - change.before.double())
        rank = min(8, int((spectrum > 1e-4 * spectrum[0]).sum()))
        assert row["path"] == change.path and len(row["right"]) == len(row["left"]) == rank
        for ours, theirs in ((row["right"], right[:rank]), (row["left"], left.T[:rank])):
            overlap = torch.tensor(ours, dtype=torch.float64) @ theirs.T
            assert float(overlap.square().sum()) == pytest.approx(rank, rel=1e-4)


def test_examples_do_not_depend_on_their_order():
    ids = [f"row{number}" for number in range(100)]
    shuffled = list(np.random.default_rng(0).permutation(ids))
    assert {ids[row] for row in chosen_rows(ids, 7)} == {shuffled[row] for row in chosen_rows(shuffled, 7)}
    assert chosen_rows(ids, 7) == sorted(chosen_rows(ids, 7)) and chosen_rows(ids, 100) == list(range(100))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["kinds=generalisation", "sweep=none"], "generalization"),
        (["checkpoint=best", "sweep=none"], "selected, last"),
        (["rows=0", "sweep=none"], "at least 1"),
        ([], "sweep="),
        (["sweep=never_planned"], "never_planned"),
    ],
)
def test_bad_words_are_one_sentence(swept, capsys, words, named):
    assert main(["diagnose", *words, *swept[2][1:]]) == 2
    said = capsys.readouterr().err
    assert named in said and said.count("\n") == 1


def test_every_kind_has_a_version_and_a_measure():
    assert list(KINDS) == list(VERSIONS) and set(DEFAULTS) <= set(KINDS)
