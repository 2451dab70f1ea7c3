"""Whether a method, a model and a dataset can meet, decided from their cards before anything is loaded."""

import math
from collections.abc import Mapping

from harness.ledger.dataset_spec import DatasetSpec
from harness.ledger.model_spec import ModelSpec
from harness.ledger.spec import RecipeSpec
from harness.models.families import family_of
from harness.training.schedule import train_schedule
from methods.spec import MethodSpec
from methods.training import Training
from methods.why_not import why_not as method_why_not
from methods.why_not import why_not_train

TASKS_OF = {
    "text_encoder": ("text_classification", "regression"),
    "image_encoder": ("image_classification",),
    "vision_language": ("vision_language",),
    "decoder": ("text_classification", "regression", "causal_lm", "generation", "choice"),
}

WITH_LM_HEAD = (
    "causal_lm",
    "generation",
    "choice",
    "vision_language",
)  # the model's own, tied to its embeddings: no method trains it


def why_not(method: MethodSpec, model: ModelSpec, dataset: DatasetSpec) -> str | None:
    """A sentence when this combination cannot be run, else None."""
    if dataset.task.kind not in TASKS_OF[model.kind]:
        can = ", ".join(TASKS_OF[model.kind])
        return f"{model.name} ({model.kind}) cannot do {dataset.name} ({dataset.task.kind}); it can do {can}."
    head = () if dataset.task.kind in WITH_LM_HEAD else model.head
    width, depth = _config(model, "hidden_size", "n_embd"), _config(model, "num_hidden_layers", "n_layer")
    return method_why_not(method, targets=model.targets, smallest=width, head=head, depth=depth)


def why_no_source(method: MethodSpec) -> str | None:
    """A sentence when a method would train from the pretrained model whatever source run it is given, else None.

    The kind of its update or of its schedule says that it starts from a run: `starts_from_run = True` in its class.
    """
    if any(getattr(part, "starts_from_run", False) for part in (method.update, method.schedule)):
        return None
    return f"{method.name} starts from the pretrained model; a source run would change nothing of it."


def why_too_short(method: MethodSpec, dataset: DatasetSpec, recipe: RecipeSpec) -> str | None:
    """A sentence when a method has no room even in the longest training that this can be, else None.

    Longest: every training row of the card is trained on. A card without rows is asked for none: the run will say.
    """
    counts = dataset.about.get("rows")
    rows = counts.get("train") if isinstance(counts, Mapping) else None
    if not isinstance(rows, int) or rows < 1:
        return None
    schedule = train_schedule(recipe, math.ceil(rows / (recipe.batch_size * recipe.accumulate)))
    why = why_not_train(method, Training(schedule.total, schedule.steps_per_epoch, recipe.lr))
    return None if why is None else f"{why} ({dataset.name} has {rows} training rows by its card.)"


def _config(model: ModelSpec, *names: str) -> int | None:
    """The width of the hidden states, which every target but `down` takes in, or the layers, by their usual names."""
    values = {**model.config, **(family_of(model).tiny if model.size == "tiny" else {})}
    values = values.get("text_config", values)
    return next((values[name] for name in names if name in values), None)
