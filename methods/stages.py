"""The stages of In-Squeeze (https://arxiv.org/abs/2602.10993): their ranks, and how long each is. Plain numbers."""

from collections.abc import Sequence
from itertools import pairwise


def stage_ranks(first: int, ranks: Sequence[int] | None) -> tuple[int, ...]:
    """The ranks as given, or halved from `first` down to 1."""
    return tuple(ranks) if ranks is not None else tuple(first >> n for n in range(first.bit_length()))


def stage_lengths(steps: int, ranks: Sequence[int], minimum: int = 0) -> tuple[int, ...]:
    """Steps of each stage of In-Squeeze: `minimum` each, the rest in proportion to the ranks; they add up to `steps`.

    Rounded by largest remainder. Raises ValueError where the stages do not fit, or one would have no step.
    """
    rest = steps - minimum * len(ranks)
    if rest < 0 or (minimum == 0 and steps < len(ranks)):
        raise ValueError(f"{len(ranks)} stages of at least {max(1, minimum)} steps do not fit into {steps} steps")
    shares = [rest * rank / sum(ranks) for rank in ranks]
    lengths = [int(share) for share in shares]
    by_remainder = sorted(range(len(ranks)), key=lambda stage: (lengths[stage] - shares[stage], stage))
    for stage in by_remainder[: rest - sum(lengths)]:
        lengths[stage] += 1
    if minimum == 0 and 0 in lengths:
        empty = ranks[lengths.index(0)]
        raise ValueError(f"{len(ranks)} stages do not fit into {steps} steps: that of rank {empty} would have none")
    return tuple(minimum + length for length in lengths)


def why_not_stages(first: int, ranks: Sequence[int] | None, minimum: int, steps: int) -> str | None:
    """A sentence when a training of so many steps has no such stages, else None. first: the rank of the update."""
    stages = stage_ranks(first, ranks)
    if stages[:1] != (first,):
        return f"schedule.ranks begins with {stages[0] if stages else 'nothing'}, and method.update.rank is {first}."
    if any(after >= before for before, after in pairwise(stages)):
        return f"schedule.ranks {list(stages)} do not fall."
    try:
        stage_lengths(steps, stages, minimum)
    except ValueError as error:
        return f"{error}; train longer, or give fewer schedule.ranks."
    return None
