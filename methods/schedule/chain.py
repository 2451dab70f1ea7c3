"""When the links of a chain end (study, §1.3). Plain numbers; refuses a chain that could never merge."""

from methods.errors import MethodError
from methods.spec import Chain


def link_ends(chain: Chain, total: int, steps_per_epoch: int) -> tuple[int, ...]:
    """The optimizer steps after which a link ends, increasing; none at `total`: a link there would not be trained.

    Raises MethodError unless exactly one of links, every_epochs and every_steps is given, or when a chain of more than
    one link has no room in `total` steps (I22: a configured chain that never merges is an error).
    """
    given = [value for value in (chain.links, chain.every_epochs, chain.every_steps) if value is not None]
    if len(given) != 1 or given[0] <= 0:
        raise MethodError("a chain takes exactly one of schedule.links, every_epochs and every_steps, above zero.")
    if chain.links is not None:
        ends = [round(number * total / chain.links) for number in range(1, chain.links)]
        if len(set(ends) - {0, total}) != chain.links - 1:
            raise MethodError(f"a chain of {chain.links} links needs as many optimizer steps; the run has {total}.")
        return tuple(ends)
    every = chain.every_steps if chain.every_steps is not None else (chain.every_epochs or 0.0) * steps_per_epoch
    ends = sorted({round(number * every) for number in range(1, int(total / every) + 1)} - {0})
    kept = tuple(end for end in ends if end < total)
    if not kept:
        raise MethodError(
            f"links of {every:g} steps never end in a run of {total}: the chain would never merge. "
            "Train longer or take shorter links."
        )
    return kept
