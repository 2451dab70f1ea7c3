"""Why a method cannot act on a model, decided from plain data before anything is loaded. No torch."""

from collections.abc import Mapping, Sequence

from methods.library_types import why_not_type
from methods.spec import BaSparse, Chain, Columns, Head, LowRank, MethodSpec, Peft


def why_not(
    spec: MethodSpec, *, targets: Mapping[str, str], smallest: int | None = None, head: Sequence[str] | None = None
) -> str | None:
    """A sentence when the method cannot act, else None.

    targets: canonical name -> module, of the model's card. smallest: the least input width of the targeted weights, and
    head: the module paths of the model's head, where known.
    """
    if unknown := [target for target in spec.targets if target not in targets]:
        return f"{spec.name} acts on {', '.join(unknown)}, which the model does not have; it has {', '.join(targets)}."
    update = spec.update
    if isinstance(update, Peft) and (why := why_not_type(update.type)):
        return f"{spec.name}: {why}"
    if isinstance(update, Head) and head is not None and not head:
        return f"{spec.name} trains the head alone, and the model's head is tied to its embeddings."
    if isinstance(update, LowRank | Columns | BaSparse):
        if not spec.targets:
            return f"{spec.name} names no target; the model has {', '.join(targets)}."
        if update.rank < 1:
            return f"{spec.name} has rank {update.rank}; a rank is at least 1."
        if smallest is not None and update.rank > smallest:
            return f"{spec.name} has rank {update.rank}, above the smallest width {smallest} of its targets."
        return _named_twice(spec, targets)
    if isinstance(spec.schedule, Chain):
        return f"{spec.name} has nothing to merge at a link's end: a chain needs a low-rank or a column update."
    return None


def _named_twice(spec: MethodSpec, targets: Mapping[str, str]) -> str | None:
    """Two targets must not be the same rows of the same module."""
    places = [targets[target] for target in spec.targets]
    if len(set(places)) < len(places):
        return f"{spec.name} names the same weight twice: {', '.join(spec.targets)}."
    return None
