"""What is suspicious in a sweep as a whole: holes, seeds, environments, scores and times that stand out."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from analysis.checks.finding import Finding
from analysis.frame import Frame
from analysis.matched import differing
from analysis.metric import number


def check_sweep(frame: Frame) -> tuple[Finding, ...]:
    """All findings of a frame, in a fixed order."""
    checks = (
        _holes,
        _duplicate_seeds,
        _unequal_seeds,
        _environments,
        _settings,
        _chance,
        _diverged,
        _outlying_seeds,
        _counts,
        _time_outliers,
    )
    return tuple(finding for check in checks for finding in check(frame))


def _holes(frame: Frame) -> Iterator[Finding]:
    rows = frame.rows[frame.rows["status"].isin(["missing", "damaged", "failed"])]
    for (block, method), runs in rows.groupby(["block", "label"], sort=False):
        kinds = ", ".join(f"{n} {s}" for s, n in runs["status"].value_counts(sort=False).items())
        seeds = ", ".join(map(str, runs["seed"]))
        yield Finding("incomplete cell", f"{block}, {method}", f"{kinds} (seeds {seeds}): {runs.iloc[0]['reason']}")


def _duplicate_seeds(frame: Frame) -> Iterator[Finding]:
    keys = ["block", "label", "seed"]
    runs = frame.rows[(frame.rows["seed"] >= 0) & frame.rows.duplicated(keys, keep=False)]
    for (block, method, seed), same in runs.groupby(keys, sort=False):
        text = f"seed {seed} is in the plan {len(same)} times: {', '.join(same['id'])}"
        yield Finding("duplicate seed", f"{block}, {method}", text)


def _unequal_seeds(frame: Frame) -> Iterator[Finding]:
    for block in frame.blocks:
        runs = frame.block(block)
        seeds = {m: frozenset(r["seed"]) for m, r in runs[runs["seed"] >= 0].groupby("label", sort=False)}
        if len(set(seeds.values())) > 1:
            text = "; ".join(f"{m}: {', '.join(map(str, sorted(s)))}" for m, s in seeds.items())
            yield Finding(
                "unequal seeds", block, f"methods have different seeds, so that not all differences are paired ({text})"
            )


def _environments(frame: Frame) -> Iterator[Finding]:
    done = frame.rows[frame.rows["status"] == "done"]
    prints = done["fingerprint"].replace("", "none").value_counts()
    if len(prints) > 1:
        yield Finding("mixed environments", frame.name, ", ".join(f"{name}: {n} runs" for name, n in prints.items()))
    commits = done["commit"].value_counts()
    if len(commits) > 1:
        yield Finding(
            "mixed commits", frame.name, ", ".join(f"{name or 'unknown'}: {n} runs" for name, n in commits.items())
        )
    if done["commit"].str.contains("modified").any():
        n = int(done["commit"].str.contains("modified").sum())
        yield Finding("modified code", frame.name, f"{n} runs were made with uncommitted changes")


def _settings(frame: Frame) -> Iterator[Finding]:
    for knob in differing(frame.rows):
        kind = "differing data" if knob.knob == "data" else "differing settings"
        yield Finding(kind, knob.block, f"{knob} within one comparison")


def _chance(frame: Frame) -> Iterator[Finding]:
    done = frame.rows[(frame.rows["status"] == "done") & frame.rows["chance"].notna()]
    chance = pd.to_numeric(done["chance"])
    at = np.where(done["direction"] == "max", done["score"] <= chance, done["score"] >= chance)
    for run in done[at].itertuples():
        text = f"{run.metric} {run.score:.4g}, chance {float(run.chance):.4g}"  # type: ignore[arg-type]
        yield Finding("score at chance", f"{run.block}, {run.label}, seed {run.seed}", f"{text} (run {run.id})")


def _diverged(frame: Frame) -> Iterator[Finding]:
    lost = frame.rows[frame.rows["failure_kind"] == "diverged"]
    for (block, method), seeds in lost.groupby(["block", "label"], sort=False):
        left = int(frame.cell(str(block), str(method))["done"].sum())
        if left:
            text = f"{len(seeds)} seeds diverged; the mean is over the {left} that did not"
            yield Finding("mean over survivors", f"{block}, {method}", text)


def _outlying_seeds(frame: Frame) -> Iterator[Finding]:
    """A seed that fell far below its siblings was averaged in.

    10 robust SDs and 10 % of the median is far for any method.
    """
    done = frame.rows[(frame.rows["status"] == "done") & frame.rows["shown"].notna()]
    cells = [done["block"], done["label"]]
    middle = done["shown"].groupby(cells).transform("median")
    spread = (done["shown"] - middle).abs().groupby(cells).transform("median") * 1.4826
    below = (middle - done["shown"]) * np.where(done["direction"] == "max", 1, -1)
    siblings = done["shown"].groupby(cells).transform("size")
    far = (siblings >= 3) & (below > np.maximum(10 * spread, 0.1 * middle.abs()))
    for run, usual in zip(done[far].itertuples(), middle[far], strict=True):
        text = f"{number(run.shown, 2)} where the median seed has {number(usual, 2)}; averaged in (run {run.id})"
        yield Finding("seed far off", f"{run.block}, {run.label}, seed {run.seed}", text)


def _counts(frame: Frame) -> Iterator[Finding]:
    done = frame.rows[frame.rows["status"] == "done"]
    known = done[done["formula_params"].notna() & done["adapter_params"].notna()]
    off = known[known["adapter_params"] != known["formula_params"]]
    for first in off.drop_duplicates(["block", "label"]).itertuples():
        text = f"{first.adapter_params:,.0f} adapter parameters, by the formula {first.formula_params:,.0f}"
        yield Finding("parameter count", f"{first.block}, {first.label}", text)
    given = done[~done["learns_ranks"].astype(bool)]  # a seed that learns its ranks may end with others
    kinds = given.groupby(["block", "label"], sort=False)["trainable_params"].nunique()
    for block, method in kinds.index[kinds > 1]:
        yield Finding(
            "parameter count", f"{block}, {method}", "the seeds have different numbers of trainable parameters"
        )


def _time_outliers(frame: Frame) -> Iterator[Finding]:
    done = frame.rows[(frame.rows["status"] == "done") & frame.rows["step_ms"].notna()]
    middle = done["step_ms"].groupby([done["block"], done["label"]]).transform("median")
    far = (done["step_ms"] > 1.5 * middle) | (done["step_ms"] < middle / 1.5)
    for run, usual in zip(done[far].itertuples(), middle[far], strict=True):
        text = f"median step {run.step_ms:.1f} ms where the median seed has {usual:.1f} ms (run {run.id})"
        yield Finding("time outlier", f"{run.block}, {run.label}, seed {run.seed}", text)
