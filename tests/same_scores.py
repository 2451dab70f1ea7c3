"""`python -m tests.same_scores [RUNS]`: which runs of a finished quickstart scored what the first version's did.

Of the ViT: what that version's code scored from the weights that are in the project now. Exit code 1 when a run is
another or is not there; kernels of another CPU may move a score by an example or two.
"""

import json
import sys
from pathlib import Path

from harness.ledger.errors import RecordError
from harness.ledger.store import Store

LIST = Path(__file__).parent / "store_v1" / "quickstart_ids.json"


def main(argv: list[str]) -> int:
    store, rows = Store(Path(argv[0] if argv else "runs")), json.loads(LIST.read_bytes())
    others = 0
    for row in rows:
        then = row.get("score_of_shipped_base", row["score"])
        now = _score(store, row["id"], row["metric"])
        if now != then:
            others += 1
            print(f"{row['id']} {row['method']} {row['model']} {row['dataset']} seed {row['seed']}: {now}, was {then}")
    print(f"{len(rows) - others} of {len(rows)} scores are those of the first version.")
    return 1 if others else 0


def _score(store: Store, run: str, metric: str) -> float | None:
    """None where there is no record, or one without a score."""
    try:
        return store.read(run).scores["test"][metric].value
    except (RecordError, KeyError):
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
