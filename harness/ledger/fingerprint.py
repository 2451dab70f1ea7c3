"""What must be equal before measurements are pooled, as one short digest that anybody can recompute from a record."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

# Of a record's provenance: what enters the fingerprint. Older records have fewer of them; those of one process have no
# `parallel`, and those of a process that was not bound to cores of its own no `pinned` (their number).
ENVIRONMENT = ("packages", "python", "system", "device", "cuda", "threads", "matmul", "parallel", "pinned")


def fingerprint(provenance: Mapping[str, Any]) -> str:
    """12 hex digits of the SHA-256 of the environment within `provenance`; host, commit and time do not enter."""
    environment = {name: provenance[name] for name in ENVIRONMENT if name in provenance}
    return hashlib.sha256(json.dumps(environment, sort_keys=True).encode()).hexdigest()[:12]
