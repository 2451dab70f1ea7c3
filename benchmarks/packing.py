"""30 tiny runs: one process that works through them, as in a packed SLURM job, against one process per run.

Both do the same real runs (vit_micro on digits, ten steps) with a warm data cache. One process per run is timed on a
fifth of them and scaled up: every one of them costs the same. Exit code 0 when packing is at least 4 times faster.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.config.resolve import Resolver
from harness.config.settings import Settings, settings_from, settings_to_plain
from harness.ledger.plan import Plan, write_plan
from harness.ledger.store import Store
from harness.planning.plan import plan_sweep, read_request

WORDS = ["model=vit_micro", "dataset=digits", "tracker=none", "recipe.max_steps=10", "recipe.evaluations=1"]
RUNS, SAMPLE = 30, 6


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        request = read_request([*WORDS, "method=lora,cla,head", f"seed=range({RUNS // 3})", f"cache={folder}/cache"])
        plan = plan_sweep(request, Resolver())
        settings = settings_from(request.config)
        _time(plan, [plan.ids[:1]], settings, Path(folder) / "warm")
        alone = _time(plan, [(run_id,) for run_id in plan.ids[:: RUNS // SAMPLE]], settings, Path(folder) / "alone")
        packed = _time(plan, [plan.ids], settings, Path(folder) / "packed")
    ratio = alone / SAMPLE * RUNS / packed
    print(f"{RUNS} runs packed into one process: {packed:.1f} s ({packed / RUNS:.2f} s a run)")
    print(f"one process per run: {alone / SAMPLE:.2f} s a run (mean of {SAMPLE}), {alone / SAMPLE * RUNS:.1f} s in all")
    print(f"ratio: {ratio:.1f} x")
    print(json.dumps({"packed_s": packed, "alone_s_per_run": alone / SAMPLE, "runs": RUNS, "ratio": ratio}))
    return 0 if ratio >= 4 else 1


def _time(plan: Plan, packs: Sequence[Sequence[str]], settings: Settings, runs: Path) -> float:
    """Seconds of wall time of one worker process for each pack, one after the other."""
    write_plan(runs, plan)
    plain = json.dumps(settings_to_plain(replace(settings, runs=runs)))
    command = [
        sys.executable,
        "-m",
        "harness.execution.worker",
        "--runs",
        str(runs),
        "--plan",
        plan.name,
        "--settings",
        plain,
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    start = time.perf_counter()
    for ids in packs:
        subprocess.run([*command, *ids], env=environment, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    assert all(Store(runs).status(run_id) == "done" for ids in packs for run_id in ids)
    return seconds


if __name__ == "__main__":
    sys.exit(main())
