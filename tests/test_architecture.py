"""The arrows between the rooms, the size of functions, and what must not be imported early."""

import ast
import re
import statistics
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = {"numpy", "scipy", "pandas", "matplotlib", "pyarrow", "orjson", "jinja2", "markupsafe", "rich"}
HUB = {"transformers", "tokenizers", "safetensors", "datasets", "evaluate", "huggingface_hub"}
MODELS = {*HUB, "torch", "sklearn", "PIL", "numpy", "pyarrow"}
# room -> what it may import, itself and the standard library apart. The longest one that holds a file is its room.
MAY = {
    "methods": {"torch"},
    "methods/spec.py": set(),
    "methods/kinds.py": set(),
    "methods/families.py": set(),
    "methods/rank_spec.py": set(),
    "methods/squeeze_spec.py": set(),
    "methods/stages.py": set(),
    "methods/ranks.py": set(),
    "methods/training.py": set(),
    "methods/schedule/link_ends.py": set(),
    "methods/why_not.py": set(),
    "methods/peft_library.py": {"torch", "peft", "methods"},
    "methods/peft_prompts.py": {"torch", "peft", "methods"},
    "methods/library": {"torch", "peft", "transformers", "methods"},  # the way into other people's training scripts
    "methods/quantised.py": {"torch", "bitsandbytes", "methods"},
    "harness": {"methods", "hydra", "omegaconf", "rich", "pandas", "scipy", *MODELS},
    "harness/ledger": {"methods.spec"},
    "harness/config": {"harness.ledger", "harness.config", "methods", "hydra", "omegaconf", "yaml"},
    "harness/execution/holder.py": set(),
    "harness/execution/lease.py": {"harness.ledger", "harness.execution.holder"},
    "harness/execution/queue.py": {"harness.ledger", "harness.execution.holder", "harness.execution.lease"},
    "harness/trackers/wandb_mirror.py": {"wandb", "harness"},
    "harness/tasks/metrics.py": {"harness", "numpy", "scipy", *HUB, "sklearn", "sacrebleu", "rouge_score"},
    "harness/probe/entrants.py": {
        "harness",
        "methods",
        "torch",
        "peft",
    },  # peft's own LoRA is what ours is held against
    "harness/planning/capability_trials.py": {"harness", "methods", "torch", "peft", "safetensors"},
    "harness/cli/completion.py": {"harness", "argcomplete"},
    "harness/probe/serving.py": {"harness", "methods", "torch", "numpy", "peft"},  # adapters are served by peft
    "harness/planning/search/tpe.py": {"harness", "optuna"},
    "slurm": {"harness", "submitit", "rich", "yaml", "omegaconf"},
    "analysis": {"harness.ledger", *DATA},
    "analysis/checks/scores.py": {"sacrebleu", "rouge_score", "analysis", "harness.ledger", *DATA},
    "analysis/from_wandb.py": {"wandb", "analysis", "harness.ledger", *DATA},
}
ROOMS = ("methods", "harness", "slurm", "analysis")
FILES = [file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))]


# Each room of harness/ imports only rooms after it; two in one tuple do not know each other.
ORDER = (
    ("__main__",), ("cli",), ("planning",), ("probe", "execution"), ("diagnostics",), ("training",), ("tasks",),
    ("models", "trackers"), ("measure", "data", "config"), ("ledger",),
)  # fmt: skip
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}


def _room(file: Path) -> str:
    inside = file.relative_to(ROOT).as_posix()
    return max((room for room in MAY if inside == room or inside.startswith(room + "/")), key=len)


@cache
def _nodes(file: Path) -> tuple[ast.AST, ...]:
    """Of the whole file, read once for all tests."""
    return tuple(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))


def _imported(file: Path) -> set[str]:
    plain = {alias.name for node in _nodes(file) if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module for node in _nodes(file) if isinstance(node, ast.ImportFrom) and node.module}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_follow_the_arrows(file):
    room = _room(file)
    allowed = MAY[room] | {room.split("/")[0] if room.endswith(".py") and not MAY[room] else room.replace("/", ".")}
    allowed |= set(sys.stdlib_module_names)
    found = _imported(file)
    bad = sorted(m for m in found if not any(m == a or m.startswith(a + ".") for a in allowed))
    assert not bad, f"{file.relative_to(ROOT)} imports {bad}; {room} may import {sorted(MAY[room])}"


def test_harness_holds_nothing_outside_its_rooms():
    outside = {path.name for path in (ROOT / "harness").glob("*.py")}
    assert outside == {"__init__.py", "__main__.py"}
    assert {path.parent.name for path in (ROOT / "harness").glob("*/__init__.py")} == set(RANK) - {"__main__"}


def _modules() -> dict[str, Path]:
    return {file.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): file for file in FILES}


def _arrows() -> dict[str, set[str]]:
    """Module -> the modules of this project that it imports, wherever in the file."""
    known = _modules()
    arrows = {}
    for name, file in known.items():
        parts = {
            f"{node.module}.{alias.name}"
            for node in _nodes(file)
            if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names
        }
        arrows[name] = {module for module in _imported(file) | parts if module in known} - {name}
    return arrows


def test_every_room_of_harness_imports_only_rooms_after_it():
    back = []
    for module, imported in _arrows().items():
        rooms = [(other, other.split(".")[1]) for other in imported if other.startswith("harness.")]
        if not module.startswith("harness.") or (room := module.split(".")[1]) not in RANK:
            continue
        back += [f"{module} -> {other}" for other, its in rooms if its != room and RANK[its] <= RANK[room]]
    assert back == []


def test_harness_names_the_slurm_room_in_one_table_only():
    naming = set()
    for module, file in _modules().items():
        constants = {node.value for node in _nodes(file) if isinstance(node, ast.Constant)}
        strings = {value for value in constants if isinstance(value, str)}
        if any(re.search(r"\bslurm[./]\w|^slurm$", name) for name in strings | _imported(file)):
            naming.add(module)
    assert {module for module in naming if module.startswith("harness.")} == {"harness.cli.launchers"}


def test_no_two_modules_import_each_other_in_a_circle():
    waiting = {module: set(imported) for module, imported in _arrows().items()}
    while free := {module for module, imported in waiting.items() if not imported & set(waiting)}:
        waiting = {module: imported for module, imported in waiting.items() if module not in free}
    assert waiting == {}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_function_is_longer_than_a_screen(file):
    for node in _nodes(file):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{file.name}:{node.lineno} {node.name}"


def test_no_file_is_longer_than_250_lines():
    lengths = {str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert {name: length for name, length in lengths.items() if length > 250} == {}


def test_half_of_the_functions_have_eight_lines_or_fewer():
    nodes = [node for file in FILES for node in _nodes(file)]
    lengths = [node.end_lineno - node.lineno + 1 for node in nodes if isinstance(node, ast.FunctionDef)]
    assert statistics.median(lengths) <= 8


@pytest.mark.parametrize(
    "module",
    [
        "harness.__main__",
        "harness.cli.sweep",
        "harness.planning.plan",
        "harness.cli.status",
        "harness.execution.local",
        "slurm.launcher",
        "slurm.launch",
        "analysis.verbs",
    ],
)
def test_planning_status_and_analysis_load_no_torch(module):
    heavy = "{'torch', 'transformers', 'datasets', 'evaluate', 'wandb', 'peft'}"
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert said.stdout.strip() == "[]"


def test_configs_do_not_refer_to_other_groups():
    for file in (ROOT / "conf").rglob("*.yaml"):
        assert "${" not in file.read_text(encoding="utf-8").replace("(no ${...})", ""), file


def test_a_class_name_means_one_thing():
    names = [
        node.name
        for file in [*FILES, *sorted((ROOT / "benchmarks").rglob("*.py"))]
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    ]
    assert [name for name, count in Counter(names).items() if count > 1] == []
