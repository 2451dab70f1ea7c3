"""A run's beginning at the trained adapter of another."""

from safetensors.torch import load_file

from harness.ledger.errors import DataError
from harness.ledger.store import Store
from harness.models.loaded import check_base
from harness.training.context import RunContext
from methods.adapters import AdapterMethod


def start_from_source(context: RunContext) -> None:
    """Head and updates as the source run has left them. Raises DataError where it kept none, or is of another base."""
    assert context.source is not None and isinstance(context.method, AdapterMethod), "planning refuses others"
    file = context.source / "state.safetensors"
    if not file.is_file():
        raise DataError(f"source run {file.parents[1].name} kept no adapter: do it again with keep=adapters.")
    run = context.source.parent
    check_base(context.loaded, Store(run.parent).read(run.name).data.get("model_revision"), run.name)
    context.method.start(load_file(file))
