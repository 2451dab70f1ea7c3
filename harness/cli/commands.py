"""The verbs of the command line: name -> "module:function" and what it does. The one table that names every room.

Each is imported when it is called, so that no room imports another for it, and `--help` loads nothing.
"""

from collections.abc import Callable
from importlib import import_module

VERBS = {
    "run": ("harness.cli.sweep:run", "do one run, or answer from its record"),
    "sweep": ("harness.cli.sweep:sweep", "do every run of a grid that is missing, then show the answer"),
    "plan": ("harness.cli.sweep:plan", "show what a sweep would run, and what it leaves out and why"),
    "status": ("harness.cli.status:main", "the state of every planned run"),
    "explain": ("harness.cli.explain:explain", "why a run would be done again, or not"),
    "diff": ("harness.cli.explain:diff", "what differs between the specs of two runs"),
    "retry": ("harness.cli.control:retry", "make failed runs missing, so that the next sweep does them"),
    "cancel": ("harness.cli.control:cancel", "stop the live jobs of a sweep"),
    "logs": ("harness.cli.control:logs", "what a run printed"),
    "sync": ("harness.cli.sync:main", "upload offline W&B runs"),
    "report": ("analysis.verbs:report", "tables, figures and a page, from records alone"),
    "compare": ("analysis.verbs:compare", "statistics of any table of published numbers"),
    "advise": ("analysis.verbs:advise", "which method, under a budget, by the evidence"),
    "audit": ("analysis.verbs:audit", "what is wrong or suspicious in a sweep's records"),
    "probe": ("harness.cli.probe:main", "time and memory of a training step, methods side by side"),
    "search": ("harness.cli.search:main", "ranks of each weight under a budget, searched on validation"),
    "export": ("harness.cli.export:export", "a run's update as a standard PEFT adapter"),
    "merge": ("harness.cli.export:merge", "a run's model with the update merged in"),
    "squeeze": ("harness.cli.squeeze:main", "any PEFT LoRA adapter at a lower rank, without training"),
    "recommend-rank": (
        "harness.cli.recommend_rank:main",
        "what rank each weight is recommended, and by what evidence",
    ),
    "show": ("harness.cli.show:main", "the first examples of a dataset, as a model sees them"),
    "fetch": ("harness.cli.fetch:main", "download what a sweep needs, for jobs without network"),
    "doctor": ("harness.cli.doctor:main", "whether this machine can do a sweep"),
}


def load(target: str) -> Callable[..., int]:
    """The function that "module:function" names. Verbs are found by name, so that no room imports another for them."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
