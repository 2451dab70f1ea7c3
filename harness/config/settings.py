"""How and where runs are executed. None of it can change a result, so none of it enters an id."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.ledger.errors import SpecError
from harness.ledger.parse import parse

KEYS = (
    "runs",
    "report",
    "cache",
    "device",
    "keep",
    "checkpoint_seconds",
    "wandb",
    "isolate",
    "keep_last",
    "parallel",
    "processes",
)
_ABSENT = {"isolate": False, "keep_last": False, "parallel": "none", "processes": 1}  # from jobs queued earlier
WANDB_MODE: Any = Literal["online", "offline", "disabled"]


@dataclass(frozen=True)
class Settings:
    """Operational settings, from the top level of the config."""

    runs: Path
    report: Path
    cache: Path
    device: Literal["auto", "cpu", "cuda"]
    keep: Literal["adapters", "all", "none"]
    checkpoint_seconds: float
    wandb: Mapping[str, Any] | None
    isolate: bool = False  # each run of a sweep in a fresh process: its own set-up and resident set, and slower
    keep_last: bool = False  # also the weights at the end of training, beside those that are tested (diagnoses)
    parallel: Literal["none", "ddp", "fsdp"] = "none"  # how the processes of one run share its model
    processes: int = 1  # of one run
    sweep: str | None = None  # the name of the sweep that a run belongs to, for the tracker's grouping


@dataclass(frozen=True)
class _Raw:
    runs: str
    report: str
    cache: str | None
    device: Literal["auto", "cpu", "cuda"]
    keep: Literal["adapters", "all", "none"]
    checkpoint_seconds: float = field(metadata={"min": 0})
    wandb: Mapping[str, Any] | None
    isolate: bool
    keep_last: bool
    parallel: Literal["none", "ddp", "fsdp"]
    processes: int = field(metadata={"min": 1})


def settings_from(config: Mapping[str, Any], sweep: str | None = None) -> Settings:
    """Raises SpecError when an operational key has the wrong type."""
    given = _ABSENT | {key: config[key] for key in KEYS if key in config}
    raw = parse(_Raw, given, "config")
    if (raw.parallel == "none") != (raw.processes == 1):
        raise SpecError(
            f"parallel={raw.parallel} processes={raw.processes}: a run of several processes needs both, "
            "parallel=ddp or parallel=fsdp, and processes=2 or more."
        )
    if raw.wandb is not None:
        parse(WANDB_MODE, raw.wandb.get("mode"), "wandb.mode")
    cache = Path(raw.cache) if raw.cache else default_cache()
    paths: dict[str, Any] = {"runs": Path(raw.runs), "report": Path(raw.report), "cache": cache}
    return Settings(**vars(raw) | {name: path.expanduser().resolve() for name, path in paths.items()}, sweep=sweep)


def default_cache() -> Path:
    """Where prepared data, built-in models and counts are kept when no config says another place."""
    return Path(os.environ.get("PEFTLAB_CACHE") or Path.home() / ".cache" / "peftlab")


def settings_to_plain(settings: Settings) -> dict[str, Any]:
    """For handing settings to a worker process as JSON; `settings_from` reads it back."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in vars(settings).items()}
