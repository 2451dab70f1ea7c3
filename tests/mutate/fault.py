"""One small change of the source that would make numbers wrong, and the tests that must notice."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """`before` stands exactly once in `file`; `after` takes its place."""

    what: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    def applied_to(self, source: str) -> str:
        assert source.count(self.before) == 1, f"{self.file} holds {source.count(self.before)} times: {self.before}"
        return source.replace(self.before, self.after)
