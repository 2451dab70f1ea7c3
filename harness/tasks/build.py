"""A dataset's card and a loaded model, bound into a task. Only the file of the wanted kind is imported."""

from harness.ledger.dataset_spec import DatasetSpec, ImageClassification, TextClassification
from harness.ledger.errors import SpecError
from harness.models.loaded import ImageProcessor, LoadedModel
from harness.tasks.task import Task


def build(dataset: DatasetSpec, model: LoadedModel) -> Task:
    """Raises SpecError when model and task cannot meet, or the primary metric is not among the metrics."""
    if dataset.metric not in dataset.metrics:
        raise SpecError(f"dataset.metric: '{dataset.metric}' is not among dataset.metrics ({', '.join(dataset.metrics)}).")
    task = dataset.task
    if isinstance(task, ImageClassification) != isinstance(model.processor, ImageProcessor):
        raise SpecError(f"model {model.spec.name} ({model.spec.kind}) cannot do {dataset.name} ({task.kind}).")
    if isinstance(task, ImageClassification):
        from harness.tasks.image_classification import ImageClassificationTask

        return ImageClassificationTask(dataset, task, model.processor, model.model.config.patch_size)
    from harness.tasks.tokens import Reader

    reader = Reader(model.processor, decoder=model.spec.kind == "decoder")
    if isinstance(task, TextClassification):
        from harness.tasks.text_classification import TextClassificationTask

        return TextClassificationTask(dataset, task, reader)
    raise SpecError(f"dataset {dataset.name}: no task of kind {task.kind}.")
