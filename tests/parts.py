"""The part of a spec that typed words choose, for tests that need one card and no plan."""

from collections.abc import Sequence

from harness.config.overrides import expand, parse_words
from harness.config.resolve import ResolvedPart, Resolver


def part_of(resolver: Resolver, axis: str, words: Sequence[str]) -> ResolvedPart:
    """As `Resolver.part`, from texts."""
    return resolver.part(axis, [assignment for override in parse_words(words) for assignment in expand(override)])
