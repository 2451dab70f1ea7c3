"""Ranks by hand: the rank of each weight, from `method.ranks`. No torch.

A key is a target (`down: 32`) or a target of some layers: `layers.3.down`, `layers.0-3.down` (both ends included), and
`layers.low.down`, `layers.medium.down`, `layers.high.down` (thirds of the depth: hierarchical ranks). A key with layers
goes before one without; a weight that no key names has the rank of the update. All weights have the scale of the
update, s = alpha / rank, so that one learning rate fits them.
"""

import re
from collections.abc import Collection, Mapping
from itertools import combinations

_KEY = re.compile(r"(?:layers\.(?P<layers>\d+(?:-\d+)?|low|medium|high)\.)?(?P<target>\w+)")
_THIRDS = ("low", "medium", "high")


def rank_of(ranks: Mapping[str, int], default: int, target: str, layer: int, depth: int) -> int:
    """The rank of `target` in layer `layer` of `depth`; `default` where no key names it. `ranks` has no fault."""
    for key, rank in ranks.items():
        layers, its_target = _read(key)
        if layers and its_target == target and layer in _layers(layers, depth):
            return rank
    return ranks.get(target, default)


def names_layers(ranks: Mapping[str, int]) -> bool:
    """Whether two layers may differ."""
    return any(_read(key)[0] for key in ranks)


def largest(ranks: Mapping[str, int]) -> dict[str, int]:
    """The largest rank of each target that is named, whatever the layer."""
    targets = {_read(key)[1] for key in ranks}
    return {target: max(rank for key, rank in ranks.items() if _read(key)[1] == target) for target in targets}


def why_not_ranks(ranks: Mapping[str, int], targets: Collection[str], depth: int | None) -> str | None:
    """A sentence when a key cannot be read, names no weight or another key's, else None. depth: layers, where known."""
    for key in ranks:
        layers, target = _read(key)
        if not target:
            return f"method.ranks: '{key}' is no target; write down, layers.3.down, layers.0-3.down or layers.low.down."
        if target not in targets:
            return f"method.ranks: '{key}' names no target of the method; it acts on {', '.join(targets)}."
        if layers in _THIRDS or not layers:
            continue
        first, last = _ends(layers)
        if first > last or (depth is not None and last >= depth):
            known = "" if depth is None else f"; the model has layers 0-{depth - 1}"
            return f"method.ranks: '{key}' names layers that are not there{known}."
    return _why_not_twice(ranks, depth)


def _why_not_twice(ranks: Mapping[str, int], depth: int | None) -> str | None:
    """A mapping has no order, so that no key can be the later one."""
    read = {key: _read(key) for key in ranks}
    lasts = [_ends(layers)[1] for layers, _ in read.values() if layers and layers not in _THIRDS]
    depth = depth or max(lasts, default=0) + 1
    for (key, (layers, target)), (other, (its_layers, its_target)) in combinations(read.items(), 2):
        if not (layers and its_layers and target == its_target):
            continue
        if both := sorted({*_layers(layers, depth)} & {*_layers(its_layers, depth)}):
            return f"method.ranks: '{key}' and '{other}' both name {target} of layer {both[0]}."
    return None


def _read(key: str) -> tuple[str, str]:
    """(layers, target); both empty for what is no key."""
    parts = _KEY.fullmatch(key)
    return (parts["layers"] or "", parts["target"]) if parts else ("", "")


def _ends(layers: str) -> tuple[int, int]:
    first, _, last = layers.partition("-")
    return int(first), int(last or first)


def _layers(layers: str, depth: int) -> list[int]:
    if layers in _THIRDS:
        return [layer for layer in range(depth) if _THIRDS[layer * 3 // depth] == layers]
    first, last = _ends(layers)
    return list(range(first, last + 1))
