"""One small change of the source that would make numbers wrong, and the tests that must notice."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Fault:
    """`before` stands exactly once in `file`; `after` takes its place."""

    what: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    def why_not(self, root: Path) -> str | None:
        """A sentence when the source below `root` has no such place, else None."""
        path = root / self.file
        if not path.is_file():
            return f"{self.file} is not there"
        times = path.read_text(encoding="utf-8").count(self.before)
        return None if times == 1 else f"{self.file} holds {times} times, not once: {self.before.strip()}"

    def applied_to(self, source: str) -> str:
        return source.replace(self.before, self.after)
