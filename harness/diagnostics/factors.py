"""A change of a weight as a product of two thin factors, B·A."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Factors:
    """B (out, r) and A (r, in), scaled: B·A is all of the change."""

    b: Tensor
    a: Tensor

    @property
    def t(self) -> "Factors":
        """The factors of the transposed change."""
        return Factors(self.a.T, self.b.T)

    def double(self) -> "Factors":
        """The same in float64."""
        return Factors(self.b.double(), self.a.double())


Change = Tensor | Factors  # (out, in), as it is or as a product


def dense(change: Change) -> Tensor:
    """The change (out, in) in float64."""
    return change.b.double() @ change.a.double() if isinstance(change, Factors) else change.double()


def column_factors(change: Tensor) -> Factors | None:
    """The changed columns and their selector, or None where more than an eighth of all columns changed."""
    columns = change.ne(0).any(0).nonzero().flatten()
    if 8 * len(columns) > change.shape[1]:
        return None
    selector = torch.zeros(len(columns), change.shape[1], dtype=change.dtype)
    selector[torch.arange(len(columns)), columns] = 1
    return Factors(change[:, columns], selector)
