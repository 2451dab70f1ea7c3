"""The kinds of side records that `peftlab diagnose` writes, with the version of each one's schema."""

from collections.abc import Iterable

from harness.ledger.errors import SpecError, nearest

VERSIONS = {
    "generalization": 1,
    "forgetting": 1,
    "bounds": 1,
    "intruders": 1,
    "geometry": 1,
    "amplification": 1,
    "subspaces": 1,
    "curvature": 1,
    "landscape": 1,
    "start": 1,
}
CHECKPOINTS = ("selected", "last")


def in_order(kinds: Iterable[str], key: str = "kinds") -> tuple[str, ...]:
    """Kinds, those that ask the model for predictions before those that change it. key: where they were named.

    Raises SpecError for one that is none.
    """
    wanted = set(kinds)
    for kind in sorted(wanted - set(VERSIONS)):
        raise SpecError(f"{key}: unknown kind '{kind}'.{nearest(kind, VERSIONS)}")
    return tuple(kind for kind in VERSIONS if kind in wanted)
