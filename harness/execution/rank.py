"""`python -m harness.execution.rank --runs DIR --planned JSON --settings JSON`: one of the processes of a run.

Started by `harness.execution.ranks`. Its variables are torchrun's (RANK, WORLD_SIZE, MASTER_ADDR, …). It ends
when its standard input does. It leaves its record, or why there is none, in the run's folder and not in the store.
Exit code: 0 when the run is done, 1 when it failed, 2 when the machine is to blame, 75 when it was stopped.
"""

import argparse
import json
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from harness.config.settings import settings_from
from harness.execution.ranks import outcome_file
from harness.execution.worker import STOPPED, stop_on_signals
from harness.ledger.errors import NodeError
from harness.ledger.paths import to_json, write_whole
from harness.ledger.plan import Planned
from harness.ledger.record import Record, record_to_json
from harness.ledger.store import Store
from harness.measure.clocks import pick_device
from harness.measure.cores import take_share
from harness.training.context import Stopped
from harness.training.run import run_one
from harness.training.world import join


@dataclass(frozen=True)
class OutcomeStore(Store):
    """Leaves a record for the parent process; of the others than the first, only of a failure."""

    rank: int

    def write(self, record: Record) -> None:
        if self.rank == 0 or record.status == "failed":
            write_whole(outcome_file(self.paths(record.id).folder, self.rank), to_json(record_to_json(record)))


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m harness.execution.rank", description=__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="the store")
    parser.add_argument("--planned", type=json.loads, required=True, help="the run")
    parser.add_argument("--settings", type=json.loads, required=True, help="as of a worker")
    given = parser.parse_args(argv)
    asked = stop_on_signals()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    planned, settings = Planned(**given.planned), settings_from(given.settings, given.settings.get("sweep"))
    store = OutcomeStore(given.runs, rank := int(os.environ["RANK"]))
    if (device := pick_device(settings.device)).type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    else:
        take_share()
    try:
        world = join(rank, settings.processes, settings.parallel, device)
        record = run_one(planned, store, settings, stop=lambda: bool(asked), world=world)
        dist.destroy_process_group()
    except Stopped:
        return STOPPED
    except NodeError as error:
        write_whole(outcome_file(store.paths(planned.id).folder, rank), to_json({"trouble": str(error)}))
        return 2
    return 0 if record.status == "done" else 1


def _end_with_parent() -> None:
    while os.read(0, 1):  # not sys.stdin, whose lock a thread would hold to the end
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
