"""The verbs about configs: listed, shown, written and checked. Part of the table of verbs."""

from pathlib import Path

from harness.cli.grammar import JSON, Verb, arg

NEW = ("dataset", "method", "model", "recipe", "sweep", "cluster")
KINDS = ("methods", "models", "datasets", "sweeps", "recipes")

CARDS = {
    "list": Verb(
        "harness.cli.cards:main",
        "the methods, models, datasets, sweeps or recipes that there are",
        (arg("kind", nargs="?", metavar="|".join(KINDS), choices=KINDS, help="which; without: how many of each"), JSON),
    ),
    "show": Verb(
        "harness.cli.show:main",
        "a dataset's first examples as a model sees them; or the settings of a method, model or recipe",
        (JSON,),
        "dataset=NAME[,NAME …] | method=… | model=… | recipe=…",
    ),
    "new": Verb(
        "harness.cli.new:main",
        "a config of your own that works at once: from your data, or from another config",
        (
            arg("kind", metavar="|".join(NEW), choices=NEW, help="what is described"),
            arg("name", help="its name: letters, digits, _ and -"),
            arg("--from", metavar="PLACE", dest="source", help="a dataset's file or folder; else what it starts from"),
            arg("--label", metavar="COLUMN", help="of a dataset: the column to predict, where it is not found"),
            JSON,
        ),
        "[KEY=VALUE …]",
    ),
    "check-method": Verb(
        "harness.cli.check_method:main",
        "a method of your own: its contract, its step and its score, beside LoRA's",
        (
            arg("method", metavar="NAME|FILE", help="a card of conf/method or of your own, or a file: .py or .yaml"),
            arg("--contract", action="store_true", help="the contract alone: seconds, and no run is made"),
            arg("--json", action="store_true", help="contract, step and answer as one JSON document"),
        ),
        "runs=DIR report=DIR device=… cluster=…",
    ),
    "check": Verb(
        "harness.cli.check:main",
        "whether a config of your own is right, or what is wrong with it",
        (
            arg(
                "file",
                type=Path,
                help="dataset=NAME or FOLDER/dataset/NAME.yaml; method=, model=, recipe= … too",
            ),
            JSON,
        ),
    ),
}
