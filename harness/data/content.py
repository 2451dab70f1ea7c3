"""What the local files of a dataset are now: a digest that is taken once for a state of them."""

import hashlib
import re
from contextlib import suppress
from pathlib import Path

from harness.data.layout import mirrored_data
from harness.ledger.dataset_spec import DatasetSpec, HubData
from harness.ledger.errors import DataError
from harness.ledger.paths import write_whole

KEPT = "content"  # folder of the cache: a state of files (names, sizes, times) -> its digest


def local_content(spec: DatasetSpec, cache: Path) -> str | None:
    """SHA-256 of the files in a folder or in the mirror, as a run's record has it (`data.source.sha256`).

    None for data that is elsewhere, or that cannot be read now: there is nothing to compare then.
    """
    try:
        if isinstance(spec.source, HubData) and mirrored_data(spec, spec.source) is None:
            return None
        from harness.data.source import find_source  # pyarrow

        source = find_source(spec)
        if source.content is None:
            return None
        kept = cache / KEPT / hashlib.sha256(source.signature.encode()).hexdigest()[:16]
        if kept.is_file() and re.fullmatch("[0-9a-f]{64}", text := kept.read_text(errors="replace")):
            return text
        content = source.content()
    except (DataError, OSError):
        return None
    with suppress(OSError):  # a cache that cannot be written costs time alone
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_whole(kept, content)
    return content
