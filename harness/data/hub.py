"""Files from the hub, into its ordinary cache; without a network the answer comes within seconds, not after retries."""

import os
import socket
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.ledger.dataset_spec import DatasetSpec, HubData
from harness.ledger.errors import DataError

PATIENCE = 2.0  # seconds until a hub that does not answer counts as out of reach


def snapshot(spec: DatasetSpec, source: HubData) -> tuple[Path, str]:
    """The folder with the dataset's files and the commit they are from: from the cache, or downloaded into it.

    Raises DataError, in one sentence that says how to fetch the data, when it is neither here nor within reach.
    """
    try:
        folder = download(source.id, "dataset", source.revision, data_patterns(spec, source))
    except DataError as error:
        where = f"{source.id} ({source.config})" if source.config else source.id
        raise DataError(
            f"dataset {spec.name}: {where} is neither under PEFTLAB_MIRROR nor in the hub's cache, and {error}; "
            f"where there is a network, run: peftlab fetch dataset={spec.name}"
        ) from error
    return folder, folder.name


def data_patterns(spec: DatasetSpec, source: HubData) -> list[str]:
    """Which files of the repository are needed: the card's, else `[config/]<split>-*.parquet`."""
    if source.files:
        return [*source.files.values()]
    prefix = f"{source.config}/" if source.config else ""
    splits = dict.fromkeys(split for split in (spec.split.train, spec.split.validation, spec.split.test) if split)
    return [f"{prefix}{split}-*.parquet" for split in splits]


def download(repo: str, kind: str, revision: str | None, patterns: list[str]) -> Path:
    """The snapshot folder of a "dataset" or "model" repository (its name is the commit); only files of `patterns`.

    Raises DataError with half a sentence: why it cannot be had.
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    why_not = unreachable()
    call: dict[str, Any] = {"repo_type": kind, "revision": revision, "allow_patterns": patterns}
    try:
        return Path(snapshot_download(repo, local_files_only=why_not is not None, **call))
    except LocalEntryNotFoundError as error:
        raise DataError(why_not or "the hub does not answer") from error
    except (HfHubHTTPError, OSError) as error:
        raise DataError(f"the hub says: {str(error).strip().splitlines()[0]}") from error


def unreachable() -> str | None:
    """Why the hub cannot be asked, else None: told to be offline, or no connection within `PATIENCE` seconds."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return "HF_HUB_OFFLINE is set"
    address = urlsplit(_proxy() or os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    host, port = address.hostname or "", address.port or (80 if address.scheme == "http" else 443)
    answered = threading.Event()
    threading.Thread(target=_knock, args=(host, port, answered), daemon=True).start()  # a name lookup has no timeout
    return None if answered.wait(PATIENCE) else f"{host} does not answer"


def _proxy() -> str | None:
    return next((os.environ[name] for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy") if os.environ.get(name)), None)


def _knock(host: str, port: int, answered: threading.Event) -> None:
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except OSError:
        return
    answered.set()
