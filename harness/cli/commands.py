"""The verbs of the command line, each with its arguments. The one table that names every room.

A verb's module is imported when it is called, so that no room imports another for it, and `--help` loads nothing.
"""

from pathlib import Path

from harness.cli.commands_of_cards import CARDS
from harness.cli.commands_of_ranks import RANKS
from harness.cli.commands_of_sharing import SHARING
from harness.cli.grammar import (
    ANY_SWEEP,
    FAILED,
    FROM_WANDB,
    JSON,
    NEW_FOLDER,
    OUT,
    RUN,
    RUN_HELP,
    RUN_OR_SWEEP,
    RUNS,
    STORE,
    SWEEP,
    SWEEPS,
    WORDS,
    Verb,
    above_zero,
    arg,
    keyed,
    run_id,
)

VERBS = {
    "run": Verb(
        "harness.cli.sweep:run",
        "do one run, or answer from its record",
        (arg("--json", action="store_true", help="the record, as docs/record.schema.json describes it"),),
        WORDS,
    ),
    "sweep": Verb(
        "harness.cli.sweep:sweep",
        "do every run of a grid that is missing, then show the answer",
        (
            arg("--dry-run", action="store_true", help="show what would be started: arrays, packing, limits, a script"),
            arg("--json", action="store_true", help="the summary of the report"),
        ),
        WORDS,
    ),
    "plan": Verb(
        "harness.cli.sweep:plan",
        "show what a sweep would run, and what it leaves out and why",
        (arg("--no-estimate", action="store_true", help="without memory and time: nothing is counted anew"), JSON),
        WORDS,
    ),
    "status": Verb(
        "harness.cli.status:main",
        "the state of every planned run",
        (
            ANY_SWEEP,
            arg("--watch", action="store_true", help="again every two seconds, until nothing runs or waits"),
            RUNS,
            JSON,
        ),
    ),
    "explain": Verb(
        "harness.cli.explain:explain",
        "why a run would be done again, or not; --cost: why it costs what it costs",
        (
            arg("run", nargs="?", help=RUN_HELP),
            arg("--cost", action="store_true", help="where its time and memory went, beside LoRA and full fine-tuning"),
            JSON,
        ),
        WORDS,
    ),
    "diff": Verb(
        "harness.cli.explain:diff",
        "what differs between the specs of two runs",
        (RUN, arg("other", help="another one"), JSON),
        STORE,
    ),
    "retry": Verb(
        "harness.cli.control:retry",
        "make failed runs missing, so that the next sweep does them",
        (
            RUN_OR_SWEEP,
            FAILED,
            RUNS,
            JSON,
        ),
    ),
    "cancel": Verb(
        "harness.cli.control:cancel",
        "stop the live jobs of a sweep",
        (ANY_SWEEP, RUNS, JSON),
    ),
    "logs": Verb(
        "harness.cli.control:logs",
        "what happened in a run and what it printed, with the time of day",
        (
            arg("run", type=run_id, help=RUN_HELP),
            arg("--follow", "-f", action="store_true", help="go on until the run has its record, or has stopped"),
            arg("--json", action="store_true", help="events as they are written, one JSON object a line"),
            RUNS,
        ),
    ),
    "sync": Verb(
        "harness.cli.sync:main",
        "upload offline W&B runs",
        (JSON,),
        STORE,
    ),
    "diagnose": Verb(
        "harness.cli.diagnose:main",
        "measure finished runs anew from their weights: why they generalise",
        (JSON,),
        "sweep=NAME [kinds=KIND,…] [checkpoint=selected|last] [rows=N] [runs=DIR]",
    ),
    "report": Verb(
        "analysis.verbs:report",
        "tables, figures and a page, from records alone",
        (
            SWEEPS,
            FROM_WANDB,
            RUNS,
            OUT,
            arg("--partial", action="store_true", help="show holes instead of refusing an incomplete sweep"),
            arg(
                "--allow-mixed",
                action="store_true",
                help="environments as blocks of their own, and settings that differ as a note, instead of a refusal",
            ),
            JSON,
        ),
    ),
    "compare": Verb(
        "analysis.verbs:compare",
        "statistics of any table of published numbers",
        (
            arg(
                "table",
                type=Path,
                help="CSV, Markdown or LaTeX with the columns model, dataset, method, metric, value; or a wide one",
            ),
            arg("--metric", metavar="NAME", default="", help="what a wide table holds, such as accuracy"),
            arg(
                "--direction",
                metavar="max|min",
                choices=("max", "min"),
                default="",
                help="for a metric whose name is not known",
            ),
            arg(
                "--control",
                metavar="METHOD",
                default="",
                help="test the others against it alone: fewer comparisons than all pairs",
            ),
            JSON,
        ),
    ),
    "advise": Verb(
        "harness.cli.advise:main",
        "which method, under a budget, by the evidence",
        (
            arg(
                "wanted",
                nargs="*",
                metavar="task=text",
                type=keyed("task", "model", "dataset", "method"),
                help="only this task=, model=, dataset= or method=",
            ),
            arg("--max-gb", metavar="N", type=above_zero, help="peak memory while training, in 10^9 bytes"),
            arg("--max-hours", metavar="N", type=above_zero, help="wall-clock hours of a run"),
            RUNS,
            JSON,
        ),
    ),
    "audit": Verb(
        "analysis.verbs:audit",
        "what is wrong or suspicious in a sweep's records",
        (SWEEP, RUNS, JSON),
    ),
    **SHARING,
    "probe": Verb(
        "harness.cli.probe:main",
        "time and memory of a training step, methods side by side",
        (JSON,),
        "[method=… model=… KEY=VALUE …]",
    ),
    "export": Verb(
        "harness.cli.export:export",
        "a run's update as a standard PEFT adapter",
        (RUN, NEW_FOLDER, JSON),
        STORE,
    ),
    "merge": Verb(
        "harness.cli.export:merge",
        "a run's model with the update merged in",
        (RUN, NEW_FOLDER, JSON),
        STORE,
    ),
    "serve-probe": Verb(
        "harness.cli.serve_probe:main",
        "what it takes to serve an adapter: unmerged, merged, at lower ranks, switched",
        (
            arg("source", metavar="RUN|ADAPTER_DIR", help="a finished run, or the folder of a PEFT adapter"),
            arg("--picture", metavar="FILE.png", type=Path, help="also as a picture"),
            JSON,
        ),
        "[ranks=[8,4]] [batch=N] [length=N] [new_tokens=N] [rounds=N] [runs=DIR]",
    ),
    **RANKS,
    **CARDS,
    "fetch": Verb(
        "harness.cli.fetch:main",
        "download what a sweep needs, for jobs without network",
        (arg("--mirror", metavar="DIR", type=Path, help="also a tree of plain files for PEFTLAB_MIRROR"), JSON),
        "sweep=NAME | model=… dataset=…",
    ),
    "completion": Verb(
        "harness.cli.completion:main",
        "what makes a shell complete verbs, keys and names at TAB",
        (arg("shell", metavar="bash|zsh|fish", choices=("bash", "zsh", "fish"), help="which shell"),),
    ),
    "doctor": Verb(
        "harness.cli.doctor:main",
        "whether this machine can do a sweep",
        (JSON,),
        "[sweep=NAME | WORDS]",
    ),
}
