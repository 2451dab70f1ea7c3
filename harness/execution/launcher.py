"""What a launcher is: a way to have runs done. `local` and `slurm` are two; others come by entry points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from harness.config.settings import Settings
from harness.execution.jobs import LiveJob, LostJob
from harness.ledger.plan import Plan
from harness.ledger.store import Store


@dataclass(frozen=True)
class CheckResult:
    """One line of `peftlab doctor`. ok: None where nothing is demanded. todo: what makes it right."""

    what: str
    said: str
    ok: bool | None = None
    todo: str = ""


@dataclass(frozen=True)
class Machine:
    """What one run has to itself. run_seconds: of a whole run, where the cluster's card says so."""

    device: Literal["cpu", "cuda"]
    processors: int  # cores, or GPUs
    run_seconds: float | None = None

    def __str__(self) -> str:
        """`GPU`, or `CPU of 4 cores`."""
        return "GPU" if self.device == "cuda" else f"CPU of {self.processors} cores"


@dataclass(frozen=True)
class DryRun:
    """What `launch` would do. said: sentences; jobs: rows of a table; script: of the first row, where there is one."""

    said: tuple[str, ...]
    jobs: tuple[Mapping[str, Any], ...] = ()
    script: str = ""


class Launcher(Protocol):
    """An object, or a module, with these names. `cluster` is the card as plain data: each launcher parses its own."""

    name: str  # for people, as in "SLURM does not answer"
    waits: bool  # whether `launch` returns when the runs are over; the report is shown then

    def launch(self, plan: Plan, store: Store, settings: Settings, cluster: Mapping[str, Any]) -> int:
        """Start what the store lacks of the plan, which is written there; the exit code. The same call again starts
        nothing twice. Raises SpecError for a card that is none of its."""
        ...

    def live(self, runs: Path) -> tuple[LiveJob, ...] | None:
        """Jobs of this store that wait or run; None when the scheduler does not answer (that is no empty queue)."""
        ...

    def cancel(self, store: Store, sweep: str, ids: frozenset[str]) -> tuple[str, ...]:
        """End the jobs of a sweep, whose runs are `ids`; their names. Raises PlanError when that cannot be done."""
        ...

    def logs(self, store: Store, run_id: str) -> Sequence[Path]:
        """Files that tell of a run, beside those in its own folder."""
        ...

    def check(self, cluster: Mapping[str, Any] | None) -> Sequence[CheckResult]:
        """Whether this machine can launch so; None: another cluster is chosen, and nothing is demanded."""
        ...


@runtime_checkable
class KnowsLost(Protocol):
    """A launcher that also knows which jobs died before they did a run: `status`, `explain` and `logs` tell of them."""

    def lost(self, runs: Path) -> tuple[LostJob, ...]:
        """Oldest first."""
        ...


@runtime_checkable
class ReadsCard(Protocol):
    """A launcher whose card is checked before anything is planned."""

    def read_card(self, cluster: Mapping[str, Any]) -> object:
        """The parsed card. Raises SpecError for one that is none of its."""
        ...


@runtime_checkable
class KnowsMachine(Protocol):
    """A launcher that knows what its runs will be done on: `plan` estimates for that, and takes no other times."""

    def machine(self, cluster: Mapping[str, Any]) -> Machine:
        """By the card. Raises SpecError for one that is none of its."""
        ...


@runtime_checkable
class ShowsDryRun(Protocol):
    """A launcher that can say what it would start: `sweep --dry-run`."""

    def dry_run(self, plan: Plan, store: Store, settings: Settings, cluster: Mapping[str, Any]) -> DryRun:
        """Nothing is started, and no file of a run or job is written."""
        ...


NAMES = ("name", "waits", "launch", "live", "cancel", "logs", "check")
