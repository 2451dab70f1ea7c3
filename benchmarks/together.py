"""Two processes against one: the largest difference of a score, for every family of methods under ddp and fsdp.

On a CPU (gloo), at tiny size; exits with 1 where a difference is above 1e-5. Some minutes.
"""

import sys
import tempfile
from pathlib import Path

from tests.training.test_together import DIGITS, SHORT
from tests.training.together import Ask, Pair, do

METHODS = (
    "lora", "cla", "paca", "cola", "c3la", "ba_sparse_lora",
    "squeeze_in method.update.rank=8 method.schedule.ranks=[8,4]", "full",
    "head", "bitfit", "adapter_serial", "dora", "adalora",
)  # fmt: skip
MOST = 1e-5


def main() -> int:
    place, worst = Path(tempfile.mkdtemp()), 0.0
    pair = Pair(place)
    for number, method in enumerate(METHODS):
        words = (*SHORT, *DIGITS, *f"method={method}".split())
        alone = do(Ask(place / f"{number}-alone", words))
        for kind in ("ddp", "fsdp"):
            together = pair.do(Ask(place / f"{number}-{kind}", words, kind))
            gap = max(
                abs(together.scores[split][name].value - score.value)
                for split, scores in alone.scores.items()
                for name, score in scores.items()
            )
            worst = max(worst, gap)
            print(f"{method.split()[0]:16} {kind:5} {gap:.1e}", flush=True)
    pair.end()
    return int(worst > MOST)


if __name__ == "__main__":
    sys.exit(main())
