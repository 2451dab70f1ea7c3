"""What a command asks for, as runs of the data as they are now."""

import sys
from collections.abc import Sequence

from harness.config.settings import Settings
from harness.ledger.plan import Planned
from harness.ledger.store import Store
from harness.planning.content import with_content


def of_present_data(runs: Sequence[Planned], store: Store, settings: Settings) -> tuple[Planned, ...]:
    """The runs, those of data that changed under new ids; stderr says so, a sentence for each dataset."""
    planned, sentences = with_content(runs, store, settings.cache)
    for sentence in sentences:
        print(f"peftlab: {sentence}", file=sys.stderr)
    return planned
