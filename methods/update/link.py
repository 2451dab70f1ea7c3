"""What one site reports at the end of a chain link."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LinkEnd:
    """Squared Frobenius norms of the link's ΔW and of what rounding W to its dtype lost; columns of W moved so far."""

    update_squared: float
    lost_squared: float
    columns: int
