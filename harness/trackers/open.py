"""Which tracker a run has. There is one mirror, W&B; without it, or when it breaks, there is silence."""

from collections.abc import Mapping
from typing import Any, Protocol

from harness.config.settings import Settings
from harness.ledger.paths import RunPaths
from harness.ledger.plan import Planned


class Tracker(Protocol):
    """Hears every event of one run."""

    def on_event(self, event: str, facts: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


class Silent:
    """No tracker."""

    def on_event(self, event: str, facts: Mapping[str, Any]) -> None:
        pass

    def close(self) -> None:
        pass


def open_tracker(planned: Planned, folder: RunPaths, settings: Settings) -> Tracker:
    """The tracker that the settings name."""
    if settings.wandb is None or settings.wandb["mode"] == "disabled":
        return Silent()
    from harness.trackers.wandb_mirror import WandbMirror

    return WandbMirror(planned, folder, settings)
