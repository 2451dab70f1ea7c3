"""The one mirror to Weights & Biases, and the only file that imports wandb.

The run id is ours, so a run in three attempts is one run there; group = sweep; config and summary carry the record's
own names. Whatever goes wrong in here is one warning, and then silence: it can never fail a run.
"""

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from harness.data.hub import silent
from harness.ledger.paths import RunPaths
from harness.ledger.plan import Planned
from harness.settings import Settings

log = logging.getLogger(__name__)


class WandbMirror:
    """Starts a W&B run at the first event and follows until `close`."""

    def __init__(self, planned: Planned, folder: RunPaths, settings: Settings) -> None:
        self._run: Any = None
        self._broken = False
        self._exit_code = 1  # until the end was heard
        self._safely(lambda: self._open(planned, folder, settings))

    def hear(self, event: str, facts: Mapping[str, Any]) -> None:
        if event == "val":
            self._safely(lambda: self._run.log({k: v for k, v in facts.items() if k != "step"}, step=facts["step"]))
        elif event in ("end", "failed"):
            self._exit_code = 0 if event == "end" else 1
            self._safely(lambda: self._run.summary.update(dict(facts)))

    def close(self) -> None:
        self._safely(lambda: self._run.finish(exit_code=self._exit_code))

    def _open(self, planned: Planned, folder: RunPaths, settings: Settings) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        assert settings.wandb is not None
        self._run = wandb.init(
            id=planned.id,
            project=settings.wandb["project"],
            entity=settings.wandb["entity"],
            mode=_mode(settings.wandb["mode"]),
            group=settings.sweep,
            job_type="run",
            name=" ".join(str(planned.choices[axis]) for axis in ("method", "model", "dataset", "seed")),
            config=dict(planned.spec),
            dir=str(folder.folder),
            resume="allow",
            reinit="finish_previous",
            settings=wandb.Settings(
                console="off", silent=True, x_disable_stats=True, x_disable_machine_info=True,
                save_code=False, disable_git=True,
            ),
        )  # fmt: skip

    def _safely(self, call: Callable[[], object]) -> None:
        """Do it unless something broke before; the first failure is the last call."""
        if self._broken:
            return
        try:
            call()
        except Exception as error:
            self._broken = True
            log.warning("W&B: %s: %s. The run goes on without it; its record is complete.", type(error).__name__, error)


def _mode(wanted: str) -> Any:
    """`online` becomes `offline` while the server is silent: wandb itself would wait for over a minute a run."""
    if wanted == "online" and (reason := silent(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai"))):
        log.warning("W&B: %s; this run is kept offline, `peftlab sync` uploads it later.", reason)
        return "offline"
    return wanted
