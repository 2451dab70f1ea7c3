"""When the links of a chain end (study, §1.3). Plain numbers; refuses a chain that could never merge."""

from fractions import Fraction

from methods.errors import MethodError
from methods.spec import Chain


def link_length(chain: Chain, total: int, steps_per_epoch: int) -> Fraction:
    """Optimizer steps of one link, exact; the n-th link ends after round(n · length) steps, and none at `total`.

    Raises MethodError unless exactly one of links, every_epochs and every_steps is given, or when a chain of more than
    one link has no room in `total` steps (I22: a configured chain that never merges is an error).
    """
    given = [value for value in (chain.links, chain.every_epochs, chain.every_steps) if value is not None]
    if len(given) != 1 or given[0] <= 0:
        raise MethodError("a chain takes exactly one of schedule.links, every_epochs and every_steps, above zero.")
    if chain.links is not None:
        if chain.links > total:
            raise MethodError(f"a chain of {chain.links} links needs as many optimizer steps; the run has {total}.")
        return Fraction(total, chain.links)
    epochs = chain.every_epochs
    length = Fraction(chain.every_steps or 0) if epochs is None else Fraction(epochs) * steps_per_epoch
    if length < 1 or round(length) >= total:
        raise MethodError(f"links of {float(length):g} steps do not fit {total} steps: the chain would never merge.")
    return length


def ends_at(length: Fraction, step: int, total: int) -> bool:
    """Whether a link ends after `step` optimizer steps; at `total` none does, as a new one would never be trained."""
    near = round(step / length)
    return 0 < step < total and any(round(n * length) == step for n in (near - 1, near, near + 1))


def count_ends(length: Fraction, total: int) -> int:
    """How many links end before `total`."""
    last = int(total / length)
    return last - 1 if round(last * length) >= total else last
