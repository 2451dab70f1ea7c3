"""The words of a command line that are not Hydra's."""

from collections.abc import Sequence

from harness.ledger.errors import SpecError, nearest


def flags_of(argv: Sequence[str], known: Sequence[str]) -> tuple[set[str], list[str]]:
    """The flags of a command line, and its other words. Raises SpecError for a flag that is not known."""
    flags = {word for word in argv if word.startswith("-") and word != "-"}
    for flag in flags - set(known):
        raise SpecError(f"unknown flag '{flag}'.{nearest(flag, known)}")
    return flags, [word for word in argv if word not in flags]
