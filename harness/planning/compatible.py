"""Whether a method, a model and a dataset can meet, decided from their cards before anything is loaded."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from harness.ledger.dataset_spec import DatasetSpec
from harness.ledger.model_spec import ModelSpec
from harness.ledger.spec import RecipeSpec
from harness.models.families import family_of
from harness.training.schedule import train_schedule
from methods.library_types import IN_CACHE, NOT_PACKED, prompt_length
from methods.spec import MethodSpec, Peft
from methods.training import Training
from methods.why_not import why_not as method_why_not
from methods.why_not import why_not_train

TASKS_OF = {
    "text_encoder": ("text_classification", "regression"),
    "image_encoder": ("image_classification",),
    "vision_language": ("vision_language",),
    "decoder": ("text_classification", "regression", "causal_lm", "generation", "choice"),
}

_WITHOUT_PAST = ("deberta-v2",)  # families whose attention reads no keys and values of earlier tokens

WITH_LM_HEAD = (
    "causal_lm",
    "generation",
    "choice",
    "vision_language",
)  # the model's own, tied to its embeddings: no method trains it


@dataclass(frozen=True)
class RunParts:
    """What decides whether a run can start from another."""

    method: MethodSpec
    model: ModelSpec
    dataset: DatasetSpec


def why_not(method: MethodSpec, model: ModelSpec, dataset: DatasetSpec) -> str | None:
    """A sentence when this combination cannot be run, else None."""
    if dataset.task.kind not in TASKS_OF[model.kind]:
        can = ", ".join(TASKS_OF[model.kind])
        return f"{model.name} ({model.kind}) cannot do {dataset.name} ({dataset.task.kind}); it can do {can}."
    if why := _why_not_quantised(method, model) or _why_not_prompt(method, model):
        return why
    head = () if dataset.task.kind in WITH_LM_HEAD else model.head
    width, depth = _config(model, "hidden_size", "n_embd"), _config(model, "num_hidden_layers", "n_layer")
    return method_why_not(method, targets=model.targets, smallest=width, head=head, depth=depth)


def _why_not_quantised(method: MethodSpec, model: ModelSpec) -> str | None:
    """A sentence for a method that trains packed weights themselves, or cannot train beside them, else None."""
    if model.quantization is None:
        return None
    if isinstance(method.update, Peft) and method.update.type in NOT_PACKED:
        return f"the peft library's {method.update.type} does not train beside packed weights; take peft.type=LORA."
    if method.update.kind != "full":
        return None
    return (
        f"{method.name} trains every weight, and those of {model.name} are packed ({model.quantization}); leave out "
        "model.quantization, or take a method that trains beside them, as lora or cla."
    )


def _why_not_prompt(method: MethodSpec, model: ModelSpec) -> str | None:
    """A sentence for a learned prompt that the model has no place for, else None."""
    if not (length := prompt_length(method.update)):
        return None
    if model.kind in ("image_encoder", "vision_language"):
        return f"{method.name} puts learned tokens in front of a text, and {model.name} reads images; take lora."
    if _is_in_cache(method) and model.family in _WITHOUT_PAST:
        return f"{model.name} takes no keys and values from before, as {method.name} needs; take prompt_tuning."
    if (most := _config(model, "max_position_embeddings", "n_positions")) is not None and length >= most:
        return f"{method.name} learns {length} tokens, and {model.name} has places for {most}; learn fewer."
    return None


def _is_in_cache(method: MethodSpec) -> bool:
    return isinstance(method.update, Peft) and method.update.type in IN_CACHE


def why_no_source(own: RunParts, source: RunParts | None) -> str | None:
    """A sentence when a method cannot start from that source run, or needs one and has none, else None.

    The kind of its update or of its schedule says that it starts from a run: `starts_from_run = True` in its class.
    """
    method = own.method
    if source is None:
        needs = f"{method.name} starts from a trained run; say which, as in source.method=lora."
        return needs if method.schedule.of_source or method.update.beside_source else None
    if not any(getattr(part, "starts_from_run", False) for part in (method.update, method.schedule)):
        return f"{method.name} starts from the pretrained model; a source run would change nothing of it."
    if method.update.beside_source:
        return _why_no_neighbour(own, source)
    return _why_other_update(own, source) if method.schedule.of_source else None


def _why_no_neighbour(own: RunParts, source: RunParts) -> str | None:
    """A sentence when the source has no factors A of the same weights of the same model, else None."""
    name, other = own.method.name, source.method
    if own.model != source.model or set(own.method.targets) != set(other.targets):
        return f"{name} keeps apart from its source's A: both need the same model and targets."
    if other.update.kind not in ("low_rank", own.method.update.kind) or other.schedule.kind != "constant":
        return f"{name} keeps apart from its source's A, of plain LoRA or of itself; {other.name} has another update."
    return None


def _why_other_update(own: RunParts, source: RunParts) -> str | None:
    """A sentence when the source's trained update is not one that `own` could take over, else None."""
    name, other = own.method.name, source.method
    if (own.model, own.dataset) != (source.model, source.dataset):
        return f"{name} compresses what its source has trained: both need the same model and dataset."
    if (own.method.update, own.method.targets, own.method.ranks) != (other.update, other.targets, other.ranks):
        return f"{name} compresses what its source has trained: method.update and source.method.update must be equal."
    if other.schedule.kind != "constant":
        return f"{name} compresses an update that stays one from the first step to the last; {other.name}'s does not."
    return None


def why_not_by(method: MethodSpec, dataset: DatasetSpec, recipe: RecipeSpec) -> str | None:
    """A sentence when a method cannot be trained by the recipe, else None; without rows on the card, the run says."""
    if recipe.early_stop is not None and method.schedule.to_its_end:
        return f"{method.name} is at its last rank only at the end of the training; recipe.early_stop must be null."
    if recipe.gradient_checkpointing and _is_in_cache(method):
        return f"{method.name} is read from the cache once a step; recipe.gradient_checkpointing must be false."
    training = longest_training(dataset, recipe)
    if training is None or (why := why_not_train(method, training)) is None:
        return None
    return f"{why} ({dataset.name} has {_rows(dataset)} training rows by its card.)"


def longest_training(dataset: DatasetSpec, recipe: RecipeSpec) -> Training | None:
    """The longest that it can be, with every training row of the card; None without rows there."""
    if (rows := _rows(dataset)) is None:
        return None
    schedule = train_schedule(recipe, math.ceil(rows / (recipe.batch_size * recipe.accumulate)))
    return Training(schedule.total, schedule.steps_per_epoch, recipe.lr)


def _rows(dataset: DatasetSpec) -> int | None:
    counts = dataset.about.get("rows")
    rows = counts.get("train") if isinstance(counts, Mapping) else None
    return rows if isinstance(rows, int) and rows > 0 else None


def _config(model: ModelSpec, *names: str) -> int | None:
    """The width of the hidden states, which every target but `down` takes in, or the layers, by their usual names."""
    values = {**model.config, **(family_of(model).tiny if model.size == "tiny" else {})}
    values = values.get("text_config", values)
    return next((values[name] for name in names if name in values), None)
