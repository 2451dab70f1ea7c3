"""From override words to a plan: Hydra's grammar, our grids, and sentences for what cannot be."""

import pytest

from harness.config.resolve import Resolver
from harness.ledger.errors import PlanError, SpecError
from harness.ledger.identity import run_id
from harness.ledger.parse import parse
from harness.ledger.plan import plan_to_json, read_plan, write_plan
from harness.ledger.spec import RunSpec
from harness.planning.plan import plan_one, plan_sweep, read_request


def _sweep(*words):
    return plan_sweep(read_request(words), Resolver())


def _one(*words):
    return plan_one(read_request(words), Resolver())


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """A configuration folder of one's own, with a sweep in it."""

    def write(text):
        (tmp_path / "sweep").mkdir(exist_ok=True)
        (tmp_path / "sweep" / "mine.yaml").write_text("name: mine\ntitle: t\ncontrol: lora\nmargin: 1.0\n" + text)

    monkeypatch.setenv("PEFTLAB_CONF", str(tmp_path))
    yield write


GRID = """
seeds: [0, 1]
grids:
  - method: [full, lora, cla]
    zip:
      - {model: vit_micro, dataset: digits}
      - {model: minilm, dataset: trec50, recipe.epochs: 1}
exclude:
  - {where: {method: full, model: minilm}, because: "too large for a test"}
set:
  - {where: {method: [cla], dataset: digits}, set: {recipe.batch_size: 16}}
"""


def test_a_sweep_names_the_run_that_a_single_command_names():
    single = _one("method=cla", "seed=2", "recipe.lr=1e-2")
    assert single.id in _sweep("method=lora,cla", "seed=range(3)", "recipe.lr=1e-2,1e-3").ids


def test_the_id_is_that_of_the_parsed_spec():
    planned = _one("method=lora")
    assert run_id(parse(RunSpec, planned.spec, "run")) == planned.id


def test_hydra_grammar_spans_the_axes():
    plan = _sweep("method=lora,cla", "seed=range(3)", "recipe.lr=1e-2,1e-3")
    assert len(plan.runs) == 12 and len(set(plan.ids)) == 12
    assert {run.choices["seed"] for run in plan.runs} == {0, 1, 2}
    assert {run.spec["recipe"]["lr"] for run in plan.runs} == {0.01, 0.001}


def test_a_glob_takes_names_of_a_group():
    names = {run.choices["method"] for run in _sweep("method=glob(lora*)").runs}
    assert names == {"lora", "lora_plus"}


def test_adding_and_deleting_keys_is_checked_by_the_parser():
    with pytest.raises(SpecError, match=r"recipe\.extra: unknown key"):
        _one("+recipe.extra=1")
    with pytest.raises(SpecError, match="recipe: clip_norm must be given"):
        _one("~recipe.clip_norm")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["method=lroa"], "method: unknown choice 'lroa'. Did you mean 'lora'?"),
        (["metod=lora"], "metod: unknown key. Did you mean 'method'?"),
        (["recipe.epoch=2"], "recipe.epoch: unknown key. Did you mean 'epochs'?"),
        (["recipe.lr=fast"], "recipe.lr: 'fast' is not a number"),
        (["seed=one"], "seed: 'one' is not a whole number"),
        (["method=lora,cla"], "use `peftlab sweep`"),
        (["just words"], "key=value"),
        (["hydra/launcher=submitit_slurm"], "hydra/launcher: Hydra composes the config here and starts nothing"),
        (["method.update.rank=many"], "method.update.rank: 'many' is not a whole number"),
        (["runs=a,b"], "only method, model, dataset, recipe and seed can be swept"),
    ],
)
def test_a_wrong_word_is_one_sentence(words, says):
    with pytest.raises((SpecError, PlanError)) as caught:
        _one(*words)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_and_one_point_nought_are_one_setting():
    assert _one("recipe.clip_norm=1").id == _one("recipe.clip_norm=1.0").id


def test_a_changed_default_is_a_changed_id_and_paths_are_not():
    base = _one("method=lora").id
    assert _one("method=lora", "recipe.clip_norm=2.0").id != base
    assert _one("method=lora", "method.update.rank=4").id != base
    assert _one("method=lora", "runs=elsewhere", "tracker=none", "keep=all", "device=cpu", "cluster=slurm").id == base


def test_the_rate_of_one_group_does_not_touch_another_groups_id():
    assert _one("method=lora", "recipe.lr.full=1.0").id == _one("method=lora").id
    assert _one("method=full", "recipe.lr.full=1.0").id != _one("method=full").id


def test_grids_zip_exclude_and_set(conf):
    conf(GRID)
    plan = _sweep("sweep=mine")
    assert plan.name == "mine" and len(plan.runs) == 10
    assert [s.why for s in plan.skipped] == ["too large for a test"]
    sizes = {(r.choices["method"], r.choices["dataset"]): r.spec["recipe"]["batch_size"] for r in plan.runs}
    assert sizes[("cla", "digits")] == 16 and sizes[("lora", "digits")] == 32
    assert {r.spec["recipe"]["epochs"] for r in plan.runs if r.choices["model"] == "minilm"} == {1.0}


def test_one_more_seed_adds_only_its_own_runs(conf):
    conf(GRID)
    before, after = set(_sweep("sweep=mine").ids), set(_sweep("sweep=mine", "seed=0,1,2").ids)
    assert before < after and len(after - before) == 5


def test_a_bare_name_is_that_sweep(conf):
    conf(GRID)
    assert _sweep("mine", "method=lora") == _sweep("sweep=mine", "method=lora")


def test_the_command_line_narrows_a_named_sweep(conf):
    conf(GRID)
    plan = _sweep("sweep=mine", "method=lora", "model=vit_micro")
    assert {(r.choices["method"], r.choices["model"]) for r in plan.runs} == {("lora", "vit_micro")}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("method=prompt_tuning", "model=vit_micro", "dataset=digits"), "vit_micro reads images; take lora"),
        (("method=prefix_tuning", "model=deberta_v3_base"), "no keys and values from before, as prefix_tuning needs"),
        (("method=prefix_tuning", "recipe.gradient_checkpointing=true"), "gradient_checkpointing must be false"),
        (("method=prompt_tuning", "method.update.options.num_virtual_tokens=512"), "minilm has places for 512"),
        (("method=peft", "peft.type=LOKR", "model.quantization=nf4"), "LOKR does not train beside packed weights"),
        (("method=peft", "peft.type=P_TUNING"), "set peft.num_virtual_tokens, to 20 say"),
    ],
)
def test_a_type_of_the_library_without_a_place_is_refused_when_planning(words, sentence):
    with pytest.raises(PlanError, match=sentence):
        _one("model=minilm", "dataset=stdlib_docs", *words)


def test_any_type_of_the_peft_library_is_two_words():
    """It has a name of its own, and none of the options that `method=peft` has for LoRA."""
    plain = _one("method=peft", "peft.type=ia3").spec["method"]
    assert plain["update"] == {"kind": "peft", "type": "IA3", "options": {}}
    assert (plain["name"], plain["about"]["label"]) == ("peft_ia3", "IA3 (peft)")
    dora = _one("method=peft", "peft.type=DORA", "peft.r=8", "peft.lora_dropout=0.1").spec["method"]["update"]
    assert dora["options"] == {"r": 8, "lora_alpha": 32, "lora_dropout": 0.1}
    vera = _one("method=peft", "peft.type=VERA", "peft.r=64").spec["method"]["update"]
    assert vera["options"] == {"r": 64}
    assert _one("method=peft", "peft.type=LORA").id == _one("method=peft").id
    swept = _sweep("method=peft", "peft.type=IA3,VERA").runs
    assert [run.choices["method"] for run in swept] == ["peft_ia3", "peft_vera"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("method=peft", "peft.type=LORRA"), "'LORRA' is no type of the peft library. Did you mean LORA?"),
        (("method=peft", "peft.type=CPT"), "CPT cannot be used here: it learns from examples"),
    ],
)
def test_a_type_that_cannot_be_used_is_refused_before_anything_is_loaded(words, says):
    with pytest.raises(PlanError, match=r"^peft_") as error:
        _one(*words)
    assert says in str(error.value)


def test_a_rank_above_the_width_of_the_model_is_refused_before_anything_is_loaded():
    with pytest.raises(PlanError, match="cla has rank 65, above the smallest width 64 of its targets"):
        _one("method=cla", "model=gpt2_small", "dataset=e2e", "size=tiny", "method.update.rank=65")
    assert _one("method=cla", "model=gpt2_small", "dataset=e2e", "method.update.rank=65")


def test_a_method_of_our_own_has_no_type_of_the_library():
    with pytest.raises(SpecError, match="lora is no method of the peft library; write method=peft"):
        _one("method=lora", "peft.type=IA3")


def test_what_cannot_be_run_is_left_out_with_a_sentence():
    plan = _sweep("method=lora", "model=vit_micro,minilm", "dataset=digits")
    assert len(plan.runs) == 1
    assert "minilm (text_encoder) cannot do digits (image_classification)" in plan.skipped[0].why
    with pytest.raises(PlanError, match="cannot do"):
        _one("model=minilm", "dataset=digits")


def test_a_plan_survives_its_file(tmp_path):
    plan = _sweep("method=lora,cla", "seed=0,1", "model=vit_micro,minilm")
    write_plan(tmp_path, plan)
    assert read_plan(tmp_path, plan.name) == plan
    assert len(plan_to_json(plan)["parts"]["method"]) == 2


def test_a_plan_that_is_not_there_names_those_that_are(tmp_path):
    write_plan(tmp_path, _sweep("method=lora,cla"))
    with pytest.raises(PlanError, match="planned so far: adhoc-"):
        read_plan(tmp_path, "quickstart")
