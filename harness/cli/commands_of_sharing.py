"""The verbs that give records to others and take theirs. Part of the table of verbs."""

from pathlib import Path

from harness.cli.grammar import JSON, OUT, RUNS, SWEEP, Verb, arg

SHARING = {
    "bundle": Verb(
        "analysis.verbs:bundle",
        "one file of a sweep's records and predictions, to give to others",
        (
            SWEEP,
            arg("out", metavar="OUT.zip", nargs="?", type=Path, help="a new file (default: SWEEP.zip)"),
            RUNS,
            JSON,
        ),
    ),
    "pool": Verb(
        "analysis.verbs:pool",
        "records of several sites in one comparison, each checked anew",
        (
            arg(
                "places",
                metavar="DIR|FILE",
                nargs="+",
                type=Path,
                help="a folder of runs, or what `peftlab bundle` wrote (.zip, .tar, .tar.gz)",
            ),
            OUT,
            JSON,
        ),
    ),
}
