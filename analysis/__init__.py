"""Records to sentences: tables, statistics, pictures, a report.

    frame = analysis.load("beyond_lora")
    analysis.table2(frame)

Imports no torch, no tracker and no network. Names are imported when they are first used, so that a verb starts quickly.
"""

from importlib import import_module
from typing import Any

_NAMES = {
    "load": "analysis.load",
    "Frame": "analysis.frame",
    "tradeoff": "analysis.tables.tradeoff",
    "tradeoffs": "analysis.tables.tradeoff",
    "score_against": "analysis.figures.tradeoff",
    "learning_curves": "analysis.figures.curves",
    "write_report": "analysis.report.build",
}


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"analysis has no '{name}'; it has {', '.join(sorted(_NAMES))}")
    return getattr(import_module(_NAMES[name]), name)


def __dir__() -> list[str]:
    return sorted(_NAMES)
