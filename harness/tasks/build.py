"""A dataset's card and a loaded model, bound into a task. Only the file of the wanted kind is imported."""

from typing import Any

from harness.ledger.dataset_spec import (
    CausalLM,
    Choice,
    DatasetSpec,
    Generation,
    ImageClassification,
    Regression,
    TextClassification,
    VisionLanguage,
)
from harness.ledger.errors import SpecError
from harness.models.loaded import ImageProcessor, LoadedModel, VisionProcessor
from harness.tasks.scores import check_metrics
from harness.tasks.task import Task
from harness.tasks.tokens import Reader


def build(dataset: DatasetSpec, model: LoadedModel) -> Task:
    """Raises SpecError when model and task cannot meet, or a metric of the card cannot be computed here."""
    check_metrics(dataset.metric, dataset.metrics)
    kinds = {ImageClassification: ImageProcessor, VisionLanguage: VisionProcessor}
    if any(isinstance(dataset.task, task) != isinstance(model.processor, kind) for task, kind in kinds.items()):
        name, kind = model.spec.name, model.spec.kind
        raise SpecError(f"model {name} ({kind}) cannot do {dataset.name} ({dataset.task.kind}).")
    patch = getattr(model.model.config, "patch_size", 1)
    return bind(dataset, model.processor, decoder=model.spec.kind == "decoder", patch=patch)


def bind(dataset: DatasetSpec, processor: Any, *, decoder: bool, patch: int = 1) -> Task:
    """The task with a tokenizer, an ImageProcessor or a VisionProcessor; `patch`: side of an image model's patches in
    pixels."""
    task = dataset.task
    if isinstance(task, ImageClassification):
        from harness.tasks.image_classification import ImageClassificationTask

        return ImageClassificationTask(dataset, task, processor, patch)
    if isinstance(task, VisionLanguage):
        from harness.tasks.vision_language import VisionLanguageTask

        return VisionLanguageTask(dataset, task, processor)
    reader = Reader(processor, decoder)
    if isinstance(task, TextClassification):
        from harness.tasks.text_classification import TextClassificationTask

        return TextClassificationTask(dataset, task, reader)
    if isinstance(task, Regression):
        from harness.tasks.regression import RegressionTask

        return RegressionTask(dataset, task, reader)
    return _language_model(dataset, task, reader)


def _language_model(dataset: DatasetSpec, task: CausalLM | Generation | Choice, reader: Reader) -> Task:
    if isinstance(task, CausalLM):
        from harness.tasks.causal_lm import CausalLMTask

        return CausalLMTask(dataset, task, reader)
    if isinstance(task, Generation):
        from harness.tasks.generation import GenerationTask

        return GenerationTask(dataset, task, reader)
    from harness.tasks.choice import ChoiceTask

    return ChoiceTask(dataset, task, reader)
