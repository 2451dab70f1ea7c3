"""Why a method cannot act on a model, decided from plain data before anything is loaded. No torch."""

from collections.abc import Mapping, Sequence

from methods.errors import MethodError
from methods.library_types import why_not_prompt, why_not_type
from methods.ranks import why_not_ranks
from methods.schedule.link_ends import link_length
from methods.spec import (
    AdapterLayer,
    BaSparse,
    Chain,
    Constant,
    HeadOnly,
    InSqueeze,
    LowRank,
    MethodSpec,
    Peft,
    PostSqueeze,
    ScheduleSpec,
    SiteUpdateSpec,
    UpdateSpec,
)
from methods.stages import why_not_stages
from methods.training import Training


def why_not(
    spec: MethodSpec,
    *,
    targets: Mapping[str, str],
    smallest: int | None = None,
    head: Sequence[str] | None = None,
    depth: int | None = None,
) -> str | None:
    """A sentence when the method cannot act, else None.

    targets: canonical name -> module, of the model's card. smallest: the least input width of the targeted weights,
    head: the module paths of the model's head, and depth: its layers, where known.
    """
    if unknown := [target for target in spec.targets if target not in targets]:
        return f"{spec.name} acts on {', '.join(unknown)}, which the model does not have; it has {', '.join(targets)}."
    update = spec.update
    if isinstance(update, Peft) and (why := why_not_type(update.type) or why_not_prompt(update.type, update.options)):
        return f"{spec.name}: {why}"
    if isinstance(update, HeadOnly) and head is not None and not head:
        return f"{spec.name} trains the head alone, and the model's head is tied to its embeddings."
    if isinstance(update, SiteUpdateSpec):
        if not spec.targets:
            return f"{spec.name} names no target; the model has {', '.join(targets)}."
        why = _why_not_ranks(spec, smallest, depth) or _named_twice(spec, targets)
        return why or _why_not_squeeze(spec) or _why_not_schedule(spec, smallest)
    if isinstance(update, AdapterLayer) and (why := _why_not_layers(spec.targets, update.form, targets)):
        return f"{spec.name}: {why}"
    if spec.ranks:
        return f"{spec.name} takes no method.ranks: {update.kind} has no rank of single weights."
    if isinstance(spec.schedule, Chain):
        return f"{spec.name} has nothing to merge at a link's end: a chain needs a low-rank or a column update."
    if not isinstance(spec.schedule, Constant):
        return f"{spec.name}: {spec.schedule.kind} changes updates of single weights, and {update.kind} is none."
    return None


def _why_not_layers(own: Sequence[str], form: str, targets: Mapping[str, str]) -> str | None:
    """Whether the layers' targets name their places."""
    if form == "parallel" and len(own) != 2:
        return f"a parallel adapter has two targets, what it reads before and what it adds to; it has {len(own)}."
    if parts := [target for target in own if "[" in targets[target]]:
        return f"an adapter layer stands behind a whole module, and {', '.join(parts)} is a part of one."
    return None if own else f"names no target; the model has {', '.join(targets)}."


def why_not_train(spec: MethodSpec, training: Training) -> str | None:
    """A sentence when the method has no room in a training of that length, else None."""
    for part in (spec.update, spec.schedule):
        if why := _why_not_part(part, training):
            return f"{spec.name}: {why}"
    if isinstance(squeeze := spec.schedule, InSqueeze):
        first = getattr(spec.update, "rank", 1)
        why = why_not_stages(first, squeeze.ranks, squeeze.minimum, training.total)
        return why and f"{spec.name}: {why}"
    return None


def _why_not_part(part: UpdateSpec | ScheduleSpec, training: Training) -> str | None:
    if isinstance(part, Chain):
        return _why_not_chain(part, training)
    if isinstance(part, BaSparse) and part.mask == "training" and part.every > training.total:
        return f"no mask is taken within {training.total} steps; lower update.every."
    if isinstance(part, Peft) and part.type == "ADALORA":
        return _why_not_adalora(part, training)
    return part.why_not(training)


def _why_not_chain(chain: Chain, training: Training) -> str | None:
    try:
        link_length(chain, training.total, training.steps_per_epoch)
    except MethodError as error:
        return str(error)
    return None


def _why_not_adalora(update: Peft, training: Training) -> str | None:
    """Its allocation needs a step before it and one to allocate in."""
    first, last = update.options.get("tinit", 0), update.options.get("tfinal", 0)
    if isinstance(first, int) and isinstance(last, int) and first + last + 1 >= training.total:
        return f"AdaLoRA's tinit and tfinal ({first}, {last}) fill {training.total} steps."
    return None


def _why_not_ranks(spec: MethodSpec, smallest: int | None, depth: int | None) -> str | None:
    """The update's own rank, and those that are given by hand."""
    if spec.ranks and not (hasattr(spec.update, "rank") and hasattr(spec.update, "alpha")):
        return f"{spec.name} takes no method.ranks: {spec.update.kind} has no rank."
    if why := why_not_ranks(spec.ranks, spec.targets, depth):
        return f"{spec.name}: {why}"
    ranks = {getattr(spec.update, "rank", 1), *spec.ranks.values()}
    return _why_not_rank(spec, min(ranks), smallest) or _why_not_rank(spec, max(ranks), smallest)


def _why_not_rank(spec: MethodSpec, rank: int, smallest: int | None) -> str | None:
    if rank < 1:
        return f"{spec.name} has rank {rank}; a rank is at least 1."
    if smallest is not None and rank > smallest:
        return f"{spec.name} has rank {rank}, above the smallest width {smallest} of its targets."
    return None


def _why_not_squeeze(spec: MethodSpec) -> str | None:
    """Whether the schedule is one of LoRA-Squeeze and has nothing to compress."""
    squeeze = spec.schedule
    if not isinstance(squeeze, InSqueeze | PostSqueeze):
        return None
    update = spec.update
    if not (isinstance(update, LowRank) and update.train_a and update.train_b):
        return f"{spec.name}: {squeeze.kind} compresses a low_rank update whose factors are both trained."
    if spec.ranks:
        return f"{spec.name}: {squeeze.kind} gives all weights one rank, so that method.ranks has no place."
    if isinstance(squeeze, PostSqueeze) and squeeze.rank > update.rank:
        return f"{spec.name}: schedule.rank {squeeze.rank} is above the rank that is compressed, {update.rank}."
    return None


def _why_not_schedule(spec: MethodSpec, smallest: int | None) -> str | None:
    """Whether the schedule can change the update's rank, where it changes ranks."""
    kinds, update, most = spec.schedule.acts_on, spec.update, getattr(spec.schedule, "up_to", None)
    if kinds is not None and update.kind not in kinds:
        return f"{spec.name}: {spec.schedule.kind} changes the rank of {' and '.join(kinds)}, not of {update.kind}."
    if kinds is not None and not (getattr(update, "train_a", True) and getattr(update, "train_b", True)):
        return f"{spec.name}: {spec.schedule.kind} changes both factors, and one of them is frozen."
    if most is None:
        return None
    if (first := max(getattr(update, "rank", 1), *spec.ranks.values(), 1)) >= most:
        return f"{spec.name}: schedule.max_rank {most} is not above the first rank, {first}."
    return _why_not_rank(spec, most, smallest)


def _named_twice(spec: MethodSpec, targets: Mapping[str, str]) -> str | None:
    """Two targets must not be the same rows of the same module."""
    places = [targets[target] for target in spec.targets]
    if len(set(places)) < len(places):
        return f"{spec.name} names the same weight twice: {', '.join(spec.targets)}."
    return None
