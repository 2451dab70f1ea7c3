"""A method in one Python file: found without a package, named by its text; what is wrong with it is one sentence."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.__main__ import main
from harness.config.groups import look_again
from harness.config.overrides import assign
from harness.config.resolve import Resolver
from harness.ledger.errors import SpecError
from harness.planning import method_contract
from methods import kinds
from methods.build import build
from methods.errors import MethodError
from methods.kinds import file_digest
from tests.growing import HALVED, shown_source

GATED = shown_source("gated.py")
EMPTY = "from dataclasses import dataclass\nfrom typing import Literal\nfrom methods.spec import SiteUpdateSpec\n"
KIND = "@dataclass(frozen=True)\nclass {name}(SiteUpdateSpec):\n    kind: Literal['{kind}']\n"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """A folder of one's own; the path of modules as it was afterwards. The contract is held in tests/planning."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PEFTLAB_CONF", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(method_contract, "PROMISES", {})
    monkeypatch.setattr(method_contract, "COLUMNS", {"merge": method_contract.COLUMNS["merge"]})
    yield
    look_again()
    kinds._load.cache_clear()
    for name in [name for name in sys.modules if name.startswith(kinds.FILE)]:
        del sys.modules[name]


def checked(text, name="gated"):
    """The method that check-method makes of a file."""
    Path(f"{name}.py").write_text(text, encoding="utf-8")
    assert main(["check-method", f"{name}.py", "--contract"]) == 0
    return Resolver().part("method", [assign("method", name)]).spec


def test_a_file_of_one_kind_is_a_method_with_loras_values_where_it_says_none():
    spec, lora = checked(GATED), Resolver().part("method", [assign("method", "lora")]).spec
    assert spec.update.kind == "gated_low_rank" and (spec.update.rank, spec.update.alpha) == (16, 32.0)
    assert (spec.targets, spec.rates, spec.schedule) == (lora.targets, lora.rates, lora.schedule)
    assert spec.code == file_digest(spec.update) and lora.code is None


def test_the_kind_is_called_by_its_name_and_the_digest_changes_with_the_text_and_only_then():
    first, again = checked(GATED), checked(GATED)
    other = checked(GATED.replace("rank: int\n    alpha: float", "rank: int = 2\n    alpha: float = 4.0"))
    assert first.code == again.code != other.code and (first.name, other.name) == ("gated", "gated")
    assert other.update.rank == 2


def test_the_plan_of_another_text_has_other_ids_and_no_path_of_this_machine(capsys, tmp_path):
    plans = []
    for text in (GATED, GATED + "# another\n"):
        checked(text)
        capsys.readouterr()
        assert main(["plan", "method=gated", "model=minilm", "dataset=stdlib_docs", "--no-estimate", "--json"]) == 0
        plans.append(json.loads(capsys.readouterr().out))
    ids = [plan["runs"][0][0] for plan in plans]
    codes = [plan["parts"]["method"][0]["code"] for plan in plans]
    assert ids[0] != ids[1] and codes[0] != codes[1]
    assert str(tmp_path) not in json.dumps(plans)


def test_a_process_that_is_started_finds_it(tmp_path):
    spec = checked(GATED)
    code = "from methods.spec import UpdateSpec; print(UpdateSpec.of_kind('gated_low_rank').__module__)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip().endswith(spec.code)


def test_code_that_was_changed_where_it_is_kept_is_refused_before_it_is_attached():
    spec = checked(GATED)
    (kept,) = Path("runs/methods").glob("gated-*/*.py")
    kept.write_text(GATED + "# changed\n", encoding="utf-8")
    with pytest.raises(MethodError, match=f"and the run is of {spec.code}"):
        build(spec, None)


def test_a_verb_without_the_folder_of_the_file_says_what_it_wants(monkeypatch):
    checked(GATED)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "gated-" not in path])
    with pytest.raises(SpecError, match="its file's folder in PYTHONPATH"):
        Resolver().part("method", [assign("method", "gated")])


def test_a_card_beside_the_file_says_what_it_is_made_of_and_may_be_named_itself():
    text = "name: gated\ntargets: [q]\nupdate: {kind: gated_low_rank, rank: 3, alpha: 6.0}\n"
    text += "schedule: {kind: constant}\nrates: {group: adapter, b_over_a: 1.0}\nabout: {label: G}\n"
    Path("gated.yaml").write_text(text, encoding="utf-8")
    assert checked(GATED).update.rank == 3
    Path("gated.yaml").write_text(text.replace("rank: 3", "rank: 5"), encoding="utf-8")
    assert main(["check-method", "gated.yaml", "--contract"]) == 0
    spec = Resolver().part("method", [assign("method", "gated")]).spec
    assert spec.update.rank == 5 and spec.code


def test_a_card_alone_is_a_method_of_the_projects_own_parts():
    Path("thin.yaml").write_text("defaults: [lora, _self_]\nname: thin\nupdate: {rank: 2}\n", encoding="utf-8")
    assert main(["check-method", "thin.yaml", "--contract"]) == 0
    assert Resolver().part("method", [assign("method", "thin")]).spec.update.rank == 2


def test_a_schedule_in_a_file_is_lora_by_that_schedule():
    spec = checked(HALVED.replace("at: int", "at: int = 6"), "halved")
    assert (spec.update.kind, spec.schedule.kind, spec.schedule.at) == ("low_rank", "halved", 6)


WRONG = {
    "none": ("x = 1\n", "defines no kind of update"),
    "several": (EMPTY + KIND.format(name="A", kind="a") + KIND.format(name="B", kind="b"), "defines 2 kinds (a, b)"),
    "error": ("import no_such_module\n", "cannot be imported: ModuleNotFoundError"),
    "syntax": ("def f(:\n", "cannot be imported: SyntaxError"),
    "exit": ("raise SystemExit(3)\n", "cannot be imported: SystemExit: 3"),
    "ours": (EMPTY + KIND.format(name="A", kind="low_rank"), "the kind 'low_rank' is the project's own"),
    "name": (EMPTY + KIND.format(name="A", kind="Low Rank"), "is no name of a kind"),
    "plain": (EMPTY + KIND.format(name="A", kind="a").partition("\n")[2], "A is no dataclass"),
    "hint": (EMPTY + KIND.format(name="A", kind="a") + "    x: 'Tensor' = 1\n", "A: name 'Tensor' is not defined"),
    "value": (EMPTY + KIND.format(name="A", kind="a") + "    depth: int\n", "depth has no default"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_is_no_method_is_one_sentence_and_nothing_of_it_stays(name, capsys):
    text, says = WRONG[name]
    Path(f"{name}.py").write_text(text, encoding="utf-8")
    assert main(["check-method", f"{name}.py", "--contract"]) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1
    assert not Path("peftlab_conf").exists()


@pytest.mark.parametrize(("path", "says"), [
    ("lora.py", "there is a method 'lora' already"), ("absent.py", "No such file"), ("absent.yaml", "No such file"),
])  # fmt: skip
def test_a_path_that_cannot_be_taken_is_one_sentence(path, says, capsys):
    if path == "lora.py":
        Path(path).write_text(GATED, encoding="utf-8")
    assert main(["check-method", path, "--contract"]) == 2
    assert says in capsys.readouterr().err


def test_a_store_that_the_path_of_modules_cannot_name_is_one_sentence(capsys):
    Path("gated.py").write_text(GATED, encoding="utf-8")
    assert main(["check-method", "gated.py", "--contract", "runs='a:b'"]) == 2
    assert "parts folders of PYTHONPATH" in capsys.readouterr().err and not Path("a:b").exists()


def test_a_card_of_ones_own_of_that_name_is_never_written_over(capsys):
    home = Path("peftlab_conf/method/gated.yaml")
    home.parent.mkdir(parents=True)
    home.write_text("defaults: [lora, _self_]\nname: gated\n", encoding="utf-8")
    Path("gated.py").write_text(GATED, encoding="utf-8")
    assert main(["check-method", "gated.py", "--contract"]) == 2
    assert "there is a method 'gated' already" in capsys.readouterr().err and "Written" not in home.read_text()
