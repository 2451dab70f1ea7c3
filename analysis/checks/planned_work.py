"""The work a recipe asks for, computed again from recipe and split sizes, against the work that the record says."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from analysis.checks.evidence import Evidence, value


@dataclass(frozen=True)
class Work:
    """Optimizer steps of a whole training, and those after which the validation split is evaluated.

    search: steps of a search for ranks, on `search_examples` rows, after which rates and epochs begin anew; 0: none.
    """

    recipe: Mapping[str, Any]
    examples: int
    steps_per_epoch: int
    total: int
    evaluations: tuple[int, ...]
    search: int = 0
    search_examples: int = 0

    def lr(self, step: int) -> float:
        """The learning rate of optimizer step `step`, from 1: warm-up, then the recipe's schedule."""
        recipe, before, total = self.recipe, step - 1, self.total
        steps = recipe.get("warmup_steps")
        warmup = round(recipe["warmup_ratio"] * total) if steps is None else steps
        if self.search:
            searching = step <= self.search
            before, total = (before, self.search) if searching else (before - self.search, total - self.search)
            warmup, step = round(warmup * total / self.total), before + 1
        if before < warmup:
            return recipe["lr"] * step / (warmup + 1)
        past = (before - warmup) / max(1, total - warmup)
        fall = {"constant": 1.0, "linear": 1 - past, "cosine": (1 + math.cos(math.pi * past)) / 2}[recipe["schedule"]]
        final = 1.0 if recipe["schedule"] == "constant" else recipe["final_lr_ratio"]
        return recipe["lr"] * (final + (1 - final) * fall)

    def examples_by(self, step: int) -> tuple[int, int]:
        """(fewest, most) examples that so many steps can see: the order of a short last batch is drawn."""
        searched = _examples_by(min(step, self.search), self.search_examples, self.recipe)
        trained = _examples_by(max(step - self.search, 0), self.examples, self.recipe)
        return searched[0] + trained[0], searched[1] + trained[1]


def _examples_by(step: int, examples: int, recipe: Mapping[str, Any]) -> tuple[int, int]:
    """(fewest, most) of so many steps over `examples` rows."""
    if not step:
        return 0, 0
    batch, per_epoch = recipe["batch_size"] * recipe["accumulate"], _per_epoch(examples, recipe)
    epochs, rest = divmod(step, per_epoch)
    seen, short = epochs * examples, per_epoch * batch - examples
    return seen + max(0, rest * batch - short), seen + min(examples, rest * batch)


def _per_epoch(examples: int, recipe: Mapping[str, Any]) -> int:
    return math.ceil(math.ceil(examples / recipe["batch_size"]) / recipe["accumulate"])


def work_of(run: Evidence) -> Work:
    """Raises Unproved where the record does not say how large its train split is."""
    recipe, examples = run.recipe, int(run.split("train")["n"])
    per_epoch, schedule = _per_epoch(examples, recipe), run.record.spec["method"]["schedule"]
    total = max(1, round(recipe["epochs"] * per_epoch))
    total = total if recipe["max_steps"] is None else min(total, recipe["max_steps"])
    count = recipe["evaluations"]
    spaced = {max(1, round(i * total / count)) for i in range(1, count + 1)} | {total}
    search = round(schedule["search"] * total) if schedule["kind"] == "select" else 0
    inner = examples - round(schedule["held_out"] * examples) if search else 0
    return Work(recipe, examples, per_epoch, total, tuple(sorted(spaced)), search, inner)


def planned_work(run: Evidence) -> Iterator[str]:
    """Steps and examples are those of the recipe; fewer only where it stops early, and then at an evaluation."""
    if not run.done:
        return
    work, steps = work_of(run), value(run.record.work, "steps")
    stops = work.evaluations if run.recipe["early_stop"] is not None else (work.total,)
    if steps not in stops:
        yield f"{steps:g} optimizer steps where the recipe asks for {work.total}" if steps else "no optimizer step"
        return
    seen = value(run.record.work, "examples_seen")
    fewest, most = work.examples_by(int(steps))
    if seen is not None and not fewest <= seen <= most:
        yield f"{seen:.0f} examples seen in {steps:.0f} steps, which see {fewest} to {most}"


def curve(run: Evidence) -> Iterator[str]:
    """Validation points are where the recipe puts them, at its learning rate, and the best of them was tested."""
    points = run.record.curve
    if run.done and not points:
        yield "no validation point"
    if any(b.step <= a.step or b.train_seconds < a.train_seconds for a, b in pairwise(points)):
        yield "validation points do not follow each other in time"
    if run.done and points:
        yield from _selected(run)
    work = work_of(run) if points and run.done else None
    for point in points if work else ():
        yield from _point(work, point)
    if work and tuple(p.step for p in points) != tuple(s for s in work.evaluations if s <= points[-1].step):
        yield f"validation after steps {', '.join(str(p.step) for p in points)}, not where the recipe puts it"


def _point(work: Work, point: Any) -> Iterator[str]:
    if not math.isclose(point.epoch, point.step / work.steps_per_epoch, rel_tol=1e-6):
        yield f"step {point.step} is in epoch {point.epoch:g}, by the recipe {point.step / work.steps_per_epoch:g}"
    # step 0: nothing was trained, so no rate was used
    if point.step and not math.isclose(point.lr, work.lr(point.step), rel_tol=1e-6, abs_tol=1e-15):
        yield f"learning rate {point.lr:g} at step {point.step}, by the recipe {work.lr(point.step):g}"


def _selected(run: Evidence) -> Iterator[str]:
    metric, selected, record = run.dataset["metric"], run.record.selected, run.record
    better = max if run.dataset["direction"] == "max" else min
    best = better(_selectable(run), key=lambda point: point.val[metric])  # the first of equal ones, as in training
    if selected.get("metric") != metric:
        yield f"selected by {selected.get('metric')}, the dataset's metric is {metric}"
    if selected.get("step") != best.step or not _same(selected.get("value"), best.val[metric]):
        yield (
            f"selected step {selected.get('step')} ({selected.get('value')}), "
            f"and the best validation point is step {best.step} ({best.val[metric]})"
        )
    validation = value(record.scores.get("val", {}), metric)
    if validation is not None and not _same(validation, best.val[metric]):
        yield f"validation {metric} {validation:g}, and {best.val[metric]:g} at the best validation point"


def _selectable(run: Evidence) -> Sequence[Any]:
    """The validation points that may be chosen: of In-Squeeze and of a search, those of the last rank."""
    if run.record.spec["method"]["schedule"]["kind"] not in ("in_squeeze", "select"):
        return run.record.curve
    last = max((int(entry["step"]) for entry in run.record.links if "step" in entry), default=0)
    return [point for point in run.record.curve if point.step >= last] or run.record.curve


def _same(a: Any, b: float) -> bool:
    return isinstance(a, int | float) and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
