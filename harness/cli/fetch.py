"""`peftlab fetch`: all that a sweep needs of the hub, onto this machine, so that its jobs can run without a network.

Downloads go into the hub's own cache, which goes on where it stopped; with --mirror DIR also into a tree of plain
files, `<hub id>/[config/]split-*.parquet`, for PEFTLAB_MIRROR. Every new file is held against the hub's digest of it.
"""

import json
import sys
import threading
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from harness.cli.tables import folding_table
from harness.config.resolve import Resolver
from harness.data.hub import Unavailable, download, unreachable
from harness.data.hub_cache import Artifact, cache_folder, locate, mirror_of, missing_files
from harness.data.mirror import check_blobs, write_mirror
from harness.ledger.errors import DataError, SpecError
from harness.ledger.life import Say, shown
from harness.ledger.units import format_bytes
from harness.planning.plan import request_of
from harness.planning.requirements import required_artifacts

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)


@dataclass(frozen=True)
class Outcome:
    """What became of one repository. todo: what a person does next; empty when it is at hand."""

    artifact: Artifact
    state: str  # at hand, fetched, missing, gated
    note: str
    todo: str = ""


def main(given: Namespace) -> int:
    """`peftlab fetch sweep=NAME | model=… dataset=… [--mirror DIR] [--json]`: 0 when all of it is at hand, else 1."""
    if not given.overrides:
        raise SpecError("fetch takes what to fetch, as in sweep=beyond_lora, model=roberta_base or dataset=paws.")
    mirror = given.mirror.expanduser().resolve() if given.mirror else None
    outcomes = fetch(required_artifacts(request_of(given.overrides), Resolver()), mirror)
    if given.json:
        plain = [vars(each) | {"kind": each.artifact.kind, "id": each.artifact.address} for each in outcomes]
        print(json.dumps([{key: value for key, value in row.items() if key != "artifact"} for row in plain]))
    else:
        _print(outcomes)
    return 0 if all(not each.todo for each in outcomes) else 1


def fetch(artifacts: Sequence[Artifact], mirror: Path | None = None) -> list[Outcome]:
    """Each repository in turn; one that cannot be had stops no other. Without a network it is over in seconds."""
    reason: str | None = None
    asked = False
    outcomes = []
    with _progress() as progress, _logged() as say:
        whole = progress.add_task("repositories", total=len(artifacts))
        for number, artifact in enumerate(artifacts, 1):
            say(f"{artifact.repo}, {number} of {len(artifacts)} repositories")
            place = locate(artifact, mirror or mirror_of())
            if place is None and not asked:
                reason, asked = unreachable(), True
            outcomes.append(_had(artifact, place, reason, mirror, progress))
            progress.advance(whole)
    return outcomes


def _had(
    artifact: Artifact, place: Path | None, reason: str | None, mirror: Path | None, progress: Progress
) -> Outcome:
    outcome = Outcome(artifact, "at hand", str(place))
    if place is None:
        if reason is not None:
            gate = f"; first {artifact.gate}" if artifact.gate else ""
            return Outcome(artifact, "missing", reason, f"run this command where there is a network{gate}")
        outcome = _download(artifact, progress)
        place = Path(outcome.note)
    if outcome.todo or mirror is None or place.is_relative_to(mirror):
        return outcome
    try:
        return Outcome(artifact, "fetched", str(write_mirror(artifact, place, mirror)))
    except (DataError, OSError) as error:
        return Outcome(
            artifact, "missing", f"not mirrored: {error}", "make room or correct the card, then run this again"
        )


def _download(artifact: Artifact, progress: Progress) -> Outcome:
    with _arriving(artifact, progress):
        try:
            place = download(artifact.repo, artifact.kind, artifact.revision, list(artifact.patterns))
            check_blobs(place)
        except DataError as error:
            return _refused(artifact, error)
    if absent := missing_files(artifact, place):
        return Outcome(artifact, "missing", f"the repository has no {', '.join(absent)}", "correct the card")
    return Outcome(artifact, "fetched", str(place))


def _refused(artifact: Artifact, error: DataError) -> Outcome:
    if isinstance(error, Unavailable):
        gate = artifact.gate if error.gated else None
        return Outcome(artifact, "gated" if error.gated else "missing", str(error), gate or error.todo)
    return Outcome(artifact, "missing", str(error), "run this command again")


@contextmanager
def _progress() -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield progress


def _logged() -> AbstractContextManager[Say]:
    """In a log, where no bar is drawn."""
    return nullcontext(lambda words: None) if sys.stderr.isatty() else shown("fetching")


@contextmanager
def _arriving(artifact: Artifact, progress: Progress) -> Iterator[None]:
    """A line that shows how many bytes of a repository have come, read off the cache's own files."""
    place, stop = cache_folder(artifact) / "blobs", threading.Event()
    task = progress.add_task(artifact.repo, total=None)

    def watch() -> None:
        while not stop.wait(0.5):
            progress.update(task, description=f"{artifact.repo}  {format_bytes(_held(place))}")

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
        progress.remove_task(task)


def _held(place: Path) -> int:
    try:
        return sum(path.stat().st_size for path in place.iterdir())
    except FileNotFoundError:  # not begun, or a file that was renamed while we looked
        return 0


def _print(outcomes: Sequence[Outcome]) -> None:
    table = folding_table("", "what", "hub id", "where, or why not", box=None, padding=(0, 2, 0, 0))
    for each in outcomes:
        table.add_row(each.state, f"{each.artifact.kind} {each.artifact.name}", each.artifact.address, each.note)
    if outcomes:
        console.print(table)
    for todo in dict.fromkeys(each.todo for each in outcomes if each.todo):
        names = ", ".join(each.artifact.name for each in outcomes if each.todo == todo)
        console.print(f"{names}: {todo}", markup=False)
    ready = sum(not each.todo for each in outcomes)
    offline = "; jobs can run with HF_HUB_OFFLINE=1" if ready == len(outcomes) else ""
    console.print(f"{ready} of {len(outcomes)} repositories at hand{offline}.", markup=False)
