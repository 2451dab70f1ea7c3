"""Where a number was measured: code, packages, machine, and a fingerprint of what must match before numbers are pooled.

It names no user, no path and no secret: no environment variables, no command line, no remote of the repository. The
host name is in the record, so that a bad node can be found, and is left out of the fingerprint.
"""

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

from harness.ledger.fingerprint import fingerprint
from harness.ledger.source import ROOT, git_state
from harness.measure.cores import pinned
from harness.measure.cpu_matmul import matmul_kernels

# What computes: a different version of one of these may change a score or a time.
PACKAGES = ("torch", "transformers", "peft", "numpy", "datasets", "tokenizers", "safetensors", "evaluate", "accelerate")


def provenance(device: torch.device | str = "cpu", parallel: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """JSON-ready: git, packages, python, system, host, device, fingerprint. What is not known is null.

    parallel: how several processes did the run; times of other layouts are of another environment.
    """
    facts = environment(torch.device(device)) | ({} if parallel is None else {"parallel": parallel})
    return {"git": git_state(ROOT), "host": platform.node()} | facts | {"fingerprint": fingerprint(facts)}


def environment(device: torch.device) -> dict[str, Any]:
    """All that must match before measurements are pooled: the keys that `harness.ledger.fingerprint` names."""
    return {
        "packages": package_versions(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": {"type": device.type, "name": device_name(device), "driver": _driver() if _is_cuda(device) else None},
        "cuda": torch.version.cuda if _is_cuda(device) else None,
        "threads": torch.get_num_threads(),
        "matmul": matmul_kernels(device),
    } | ({"pinned": cores} if (cores := pinned()) else {})


@cache
def package_versions() -> dict[str, str | None]:
    """Version of each package that computes, null when it is not installed."""
    return {name: _version(name) for name in PACKAGES}


def image_back_end() -> str:
    """What decodes and shrinks images: always PIL, never torchvision, whose resizing differs a little."""
    return f"PIL {_version('pillow')}"


def quantisation_back_end() -> str:
    """What packs and reads the weights of a quantised base."""
    return f"bitsandbytes {_version('bitsandbytes')}"


def device_name(device: torch.device) -> str:
    """The GPU's or the CPU's model name."""
    return torch.cuda.get_device_name(device) if _is_cuda(device) else _cpu_name()


@cache
def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return f"{names[0] if names else platform.processor() or platform.machine()} ({os.cpu_count()} logical cores)"


def _driver() -> str | None:
    path = Path("/proc/driver/nvidia/version")
    return path.read_text().splitlines()[0] if path.exists() else None


def _is_cuda(device: torch.device) -> bool:
    return device.type == "cuda"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
