"""The one mirror to Weights & Biases, and the only file that imports wandb.

The run id is ours, so a run in three attempts is one run there; group = sweep; config and summary carry the record's
own names. Whatever goes wrong in here is one warning, and then silence: it can never fail a run, nor hold it up for
longer than W&B's own WANDB_INIT_TIMEOUT and WANDB_FINISH_TIMEOUT (seconds). What could not be sent waits on the disk.
"""

import logging
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from harness.config.settings import Settings
from harness.data.hub import silent
from harness.ledger.paths import RunPaths
from harness.ledger.plan import Planned

log = logging.getLogger(__name__)

ANSWER_SECONDS = 5.0  # until a server that takes a call and says nothing counts as silent
TIMEOUTS = {"WANDB_INIT_TIMEOUT": "20", "WANDB_FINISH_TIMEOUT": "30"}  # W&B's own: 90 s, and for ever
KEPT = "This run is kept offline; `peftlab sync` uploads it later."


class WandbMirror:
    """Starts a W&B run at the first event and follows until `close`."""

    def __init__(self, planned: Planned, folder: RunPaths, settings: Settings) -> None:
        self._run: Any = None
        self._broken = False
        self._exit_code = 1  # until the end was heard
        self._safely(lambda: self._open(planned, folder, settings))

    def on_event(self, event: str, facts: Mapping[str, Any]) -> None:
        if event == "val":
            self._safely(lambda: self._run.log({k: v for k, v in facts.items() if k != "step"}, step=facts["step"]))
        elif event in ("end", "failed"):
            self._exit_code = 0 if event == "end" else 1
            self._safely(lambda: self._run.summary.update(dict(facts)))

    def close(self) -> None:
        self._safely(self._finish)

    def _open(self, planned: Planned, folder: RunPaths, settings: Settings) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")
        for name, seconds in TIMEOUTS.items():
            os.environ.setdefault(name, seconds)
        import wandb

        assert settings.wandb is not None
        begin = partial(
            wandb.init,
            id=planned.id,
            project=settings.wandb["project"],
            entity=settings.wandb["entity"],
            group=settings.sweep,
            job_type="run",
            name=" ".join(str(planned.choices[axis]) for axis in ("method", "model", "dataset", "seed")),
            config=dict(planned.spec),
            dir=str(folder.folder),
            resume="allow",
            reinit="finish_previous",
            settings=wandb.Settings(
                console="off", silent=True, x_disable_stats=True, x_disable_machine_info=True,
                save_code=False, disable_git=True, finish_timeout_raises=True,
                x_save_requirements=False,  # half a CPU second a run to list packages: the record names what matters
            ),
        )  # fmt: skip
        mode = _mode(settings.wandb["mode"])
        try:
            self._run = begin(mode=mode)
        except (wandb.Error, OSError) as error:  # no key, no right to the project, a server that stopped in the middle
            if mode != "online":
                raise
            log.warning("W&B: %s: %s. %s", type(error).__name__, error, KEPT)
            self._run = begin(mode="offline")

    def _finish(self) -> None:
        folder = Path(self._run.dir).parent  # of this attempt; `dir` is its `files`
        try:
            self._run.finish(exit_code=self._exit_code)
        except TimeoutError:
            folder.rename(folder.with_name(f"offline-{folder.name}"))  # the name that W&B gives to what is not up there
            log.warning("W&B: the server stopped answering before it had everything. %s", KEPT)

    def _safely(self, call: Callable[[], object]) -> None:
        """Do it unless something broke before; the first failure is the last call."""
        if self._broken:
            return
        try:
            call()
        except Exception as error:  # broad: whatever the mirror raises, it must not cost the run
            self._broken = True
            log.warning("W&B: %s: %s. The run goes on without it; its record is complete.", type(error).__name__, error)


def _mode(wanted: str) -> Any:
    """`online` becomes `offline` while the server is silent: wandb itself would wait for over a minute a run."""
    url = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    if wanted == "online" and (reason := unreachable(url)):
        log.warning("W&B: %s. %s", reason, KEPT)
        return "offline"
    return wanted


def unreachable(url: str) -> str | None:
    """Why a server is of no use: nobody is there, or takes the call and says nothing. Any answer at all is one."""
    if reason := silent(url):
        return reason
    try:
        urllib.request.urlopen(url, timeout=ANSWER_SECONDS).close()
    except OSError as error:  # an HTTP error among them, which is an answer
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        return f"{url} takes calls and does not answer" if isinstance(reason, TimeoutError) else None
    except ValueError:  # not an address that can be asked: wandb will say so
        return None
    return None
