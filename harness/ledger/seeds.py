"""One root seed, a tree of named uses: a new use never shifts an old one.

Methods with the same seed share the head's initial values, the data order and the dropout, so that their differences
are paired. Uses: ("data", "order", epoch), ("init", "head"), ("init", "model"), ("init", "adapter", module, link),
("selector", module, link), ("dropout", step), ("augment", epoch, step).
"""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Seeds:
    """`Seeds(3).of("data", "order", 0)` is a 32-bit seed that depends on nothing but its words."""

    root: int

    def of(self, *use: str | int) -> int:
        words = "/".join(map(str, (self.root, *use)))
        return int.from_bytes(hashlib.sha256(words.encode()).digest()[:4], "big")
