"""What a score must have before anybody acts on it: a whole model, three seeds, and a mean above chance by a test."""

import pandas as pd

from analysis.frame import Frame
from analysis.scale import scale_of
from analysis.stats.equivalence import one_sided

SEEDS = 3


def unsupported(frame: Frame, runs: pd.DataFrame) -> str:
    """Why the runs of one cell support no advice; empty where they do. Without a chance level it is not tested."""
    done = runs[runs["done"] & runs["shown"].notna()]
    if (runs["model_size"] == "tiny").any():
        return "a tiny model with random weights"
    if len(done) < SEEDS:
        return f"fewer than {SEEDS} seeds with a score"
    block = str(runs.iloc[0]["block"])
    chance = float(runs.iloc[0]["chance"]) * frame.shown(block).factor
    sign = 1 if frame.better(block) == "max" else -1
    p = one_sided(sign * (done["shown"] - chance), 0.0, scale_of(runs, "shown").step)
    return "not above chance (one-sided t, p < .05)" if p >= 0.05 else ""


def sweep_command(runs: pd.DataFrame, seeds: int | None = None) -> str:
    """The sweep of these methods in this block that would be evidence, ready for a shell; `seeds`: how many, else three
    or two more than there are."""
    methods, recipes = (",".join(dict.fromkeys(runs[name])) for name in ("method_name", "recipe"))
    there = int(runs["seed"].nunique())
    seeds = seeds or (SEEDS if there < SEEDS else there + 2)
    first = runs.iloc[0]
    words = [f"method={methods}", f"model={first['model']}", f"dataset={first['dataset']}"]
    words += [f"recipe={recipes}"] if recipes and "," not in recipes else []
    return " ".join(["peftlab sweep", *words, f"'seed=range({seeds})'"])
