"""How many links of a chain are finished when it keeps the most. No torch."""

from harness.ledger.spec import RunSpec
from harness.planning.compatible import longest_training
from methods.schedule.link_ends import count_ends, link_length
from methods.spec import Chain


def finished_links(spec: RunSpec) -> int:
    """Finished links while the last one trains, by the rows of the dataset's card; 0 without rows, or without a chain.

    Raises MethodError for a chain that could never merge.
    """
    if not isinstance(spec.method.schedule, Chain):
        return 0
    if (training := longest_training(spec.dataset, spec.recipe)) is None:
        return 0
    length = link_length(spec.method.schedule, training.total, training.steps_per_epoch)
    return count_ends(length, training.total)
