"""The verbs about rank: searched, shared out, recommended, and lowered after training. Part of the table of verbs."""

from pathlib import Path

from harness.cli.grammar import JSON, RUN, STORE, WORDS, Verb, arg

BACKENDS = ("qr", "exact", "randomised")

RANKS = {
    "search": Verb(
        "harness.cli.search:main",
        "ranks of each weight under a budget, searched on validation",
        (arg("--json", action="store_true", help="all trials, the best, and what they took"),),
        "[WORDS] [search.KEY=VALUE …]",
    ),
    "budget": Verb(
        "harness.cli.budget:main",
        "a parameter budget over the weights of trained adapters, and over tasks",
        (
            arg("--parameters", metavar="N", type=int, help="Σ rank·(in + out) of all adapters together"),
            arg("--merge", action="store_true", help="also one adapter for all tasks, within N, scored on each"),
            arg("--to", metavar="DIR", type=Path, help="with --merge: a new folder for it, as a PEFT adapter"),
            JSON,
        ),
        "tasks=RUN[,RUN…] [weights=N,N…|weights=validation] [runs=DIR]",
    ),
    "squeeze": Verb(
        "harness.cli.squeeze:main",
        "any PEFT LoRA adapter at a lower rank, without training",
        (
            arg("adapter", type=Path, help="the folder of a PEFT LoRA adapter"),
            arg("out", type=Path, help="a new folder"),
            arg("--rank", metavar="N", type=int, help="the rank of every module (of those above it)"),
            arg("--keep", metavar="SHARE", type=float, help="of the variance (squared singular values) of each module"),
            arg("--uniform", action="store_true", help="with --keep: one rank for all, that of the neediest module"),
            arg(
                "--backend",
                metavar="|".join(BACKENDS),
                choices=BACKENDS,
                default="qr",
                help="qr (default) is exact and never forms the product; exact and randomised (LoRA-Squeeze's) form it",
            ),
            JSON,
        ),
    ),
    "recommend-rank": Verb(
        "harness.cli.recommend_rank:main",
        "what rank each weight is recommended, and by what evidence",
        (
            arg("--energy", metavar="SHARE", type=float, default=0.9, help="that a rank has to hold (default: 0.9)"),
            arg(
                "--from",
                metavar="RUN",
                dest="source",
                help="a finished run of a low-rank method: its model, data and adapter; the answer is kept beside it",
            ),
            JSON,
        ),
        WORDS,
    ),
    "shrink": Verb(
        "harness.cli.shrink:main",
        "a run's adapter at every rank below, and with parameters dropped",
        (RUN, JSON),
        STORE,
    ),
}
