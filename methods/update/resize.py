"""Another rank for a low-rank update in mid-training, without a jump of its function."""

from collections.abc import Callable

import torch
from torch import Tensor

from methods.method import Replaced
from methods.update.low_rank import LowRankUpdate


@torch.no_grad()
def resize(update: LowRankUpdate, kept: Tensor, rows: Tensor, *, moments: bool) -> list[Replaced]:
    """Keep the components with these indices and append `rows` (n, in) to A, with zero columns of B and gates of one.

    What is kept moves the model as before, and new components not yet. The scale stays. moments: what is kept keeps its
    optimizer moments, and what is new has zeros; else all start without.
    """
    index, more = kept.to(update.a.device), len(rows)

    def by_row(old: Tensor) -> Tensor:
        return torch.cat([old[index], old.new_zeros(more, *old.shape[1:])])

    def by_column(old: Tensor) -> Tensor:
        return torch.cat([old[:, index], old.new_zeros(len(old), more)], dim=1)

    a = torch.cat([update.a[index], rows.to(update.a.device, update.a.dtype)])
    carry: dict[str, Callable[[Tensor], Tensor]] = {"a": by_row, "b": by_column, "gate": by_row}
    values = {"a": a, "b": by_column(update.b)}
    if "gate" in dict(update.named_parameters()):
        gate = update.get_parameter("gate")
        values["gate"] = torch.cat([gate[index], gate.new_ones(more)])
    return [update.replace(name, value, carry[name] if moments else None) for name, value in values.items()]
