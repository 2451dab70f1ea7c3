"""What a finished run leaves beside its record: predictions of every test example, and the weights that made them."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.torch import save_file

from harness.ledger.paths import to_json, whole, write_whole
from harness.tasks.task import Prediction
from harness.training.context import RunContext


def save_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """predictions.parquet: id, target, prediction, score, loss, weight; a row per test example, in order."""
    columns = {name: [getattr(row, name) for row in predictions] for name in Prediction.__dataclass_fields__}
    with whole(path) as part:
        pq.write_table(pa.table(columns), part)


def save_weights(context: RunContext, folder: Path, keep: str) -> None:
    """Into `folder`: all tensors that differ from the pretrained model, as safetensors, and the method's own facts.

    keep: "adapters" leaves out methods that train every weight, whose file would be as large as the model; "all" keeps
    those too; "none" keeps nothing.
    """
    whole_model = context.spec.method.update.kind == "full"
    if keep == "none" or (keep == "adapters" and whole_model):
        return
    tensors = {name: tensor.contiguous() for name, tensor in context.gathered().items()}
    if not context.world.first:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with whole(folder / "state.safetensors") as part:
        save_file(tensors, part)
    write_whole(folder / "facts.json", to_json(context.method.facts()))
