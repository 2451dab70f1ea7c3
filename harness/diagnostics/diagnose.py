"""Diagnoses of finished runs: what is there already is not measured again, and one that fails stops no other.

Several processes take a run each. What runs share (decompositions of W0, outputs of pretrained weights) is then found
once in each of them. Torch is loaded only where something is measured.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

from harness.config.settings import Settings
from harness.diagnostics.questions import Diagnosis, Unanswered, sort_out
from harness.ledger.errors import NodeError
from harness.ledger.store import Store
from harness.measure.process_history import expect_more

THREADS = "OMP_NUM_THREADS"


def diagnose(
    ids: Iterable[str],
    store: Store,
    settings: Settings,
    kinds: Sequence[str],
    asked: Mapping[str, Any],
    *,
    processes: int = 1,
    threads: int = 1,
) -> Iterator[Diagnosis]:
    """Each kind of each run as it ends; of several processes each has so many threads. asked: see `sort_out`.

    What goes wrong in one diagnosis does not stop the others. Raises NodeError when a process was killed.
    """
    known, todo = sort_out(ids, store, kinds, asked)
    yield from known
    count = min(processes, len(todo))
    yield from _side_by_side(todo, store, settings, count, threads) if count > 1 else _in_turn(todo, store, settings)


def _in_turn(todo: Sequence[Unanswered], store: Store, settings: Settings) -> Iterator[Diagnosis]:
    if len(todo) > 1:
        expect_more()
    for of_run in todo:
        from harness.diagnostics.one_run import measured

        yield from measured(of_run, store, settings)


def _side_by_side(
    todo: Sequence[Unanswered], store: Store, settings: Settings, count: int, threads: int
) -> Iterator[Diagnosis]:
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        try:
            for future in as_completed(_submitted(pool, todo, store, settings, threads)):
                yield from future.result()
        except BrokenProcessPool as error:
            raise NodeError(
                "a process that measured was killed, as the kernel does when memory runs out; the same command goes on "
                "where it was, and with cluster.processes=1 one run is measured at a time."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _submitted(
    pool: ProcessPoolExecutor, todo: Sequence[Unanswered], store: Store, settings: Settings, threads: int
) -> list[Future[list[Diagnosis]]]:
    """Processes start here, and take their number of threads from the environment."""
    before = os.environ.get(THREADS)
    os.environ[THREADS] = str(threads)
    try:
        return [pool.submit(_of_run, of_run, store, settings) for of_run in todo]
    finally:
        os.environ.pop(THREADS)
        if before is not None:
            os.environ[THREADS] = before


def _of_run(todo: Unanswered, store: Store, settings: Settings) -> list[Diagnosis]:
    from harness.diagnostics.one_run import measured

    expect_more()
    return list(measured(todo, store, settings))
