"""Files from the hub, into its ordinary cache; without a network the answer comes within seconds, not after retries.

The hub's library is loaded where it is asked, without torch: `require` can refuse a run before that is imported.
"""

import errno
import os
import socket
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.data.layout import mirrored, mirrored_data, upstream_splits
from harness.ledger.dataset_spec import DatasetSpec, HubData
from harness.ledger.errors import DataError, NotHere
from harness.ledger.model_spec import HubModel, ModelSpec

PATIENCE = 1.5  # seconds until a hub that does not answer counts as out of reach
SMALL = ["*.json", "*.txt", "*.model"]  # config and tokenizer
WEIGHTS = {"safetensors": ["*.safetensors"], "torch": ["pytorch_model.bin", "pytorch_model-*.bin"]}


class Unavailable(NotHere):
    """A repository that cannot be had: why, in half a sentence, and what a person does next."""

    def __init__(
        self, why: str, todo: str = "run this command again: it goes on where it stopped", *, gated: bool = False
    ) -> None:
        super().__init__(why)
        self.todo, self.gated = todo, gated


def require(model: ModelSpec, dataset: DatasetSpec, cache: Path) -> None:
    """Raises DataError when the hub is needed and cannot be asked: in seconds, before torch is imported."""
    if isinstance(model.source, HubModel) and model.size == "full":
        here = mirrored(model.source.id) is not None or _in_cache(model.source.id, "model")
        reason = None if here else unreachable()
        if reason is not None:
            raise missing_model(model, model.source, reason)
    if isinstance(dataset.source, HubData):
        prepared = any((cache / "data").glob(f"{dataset.name}-*/facts.json"))
        here = prepared or mirrored_data(dataset, dataset.source) is not None or _in_cache(dataset.source.id, "dataset")
        reason = None if here else unreachable()
        if reason is not None:
            raise missing_dataset(dataset, dataset.source, reason)


def dataset_snapshot(spec: DatasetSpec, source: HubData) -> Path:
    """The folder with the dataset's files, from the cache or downloaded into it; its name is the commit."""
    try:
        return download(source.id, "dataset", source.revision, data_patterns(spec, source))
    except DataError as error:
        raise missing_dataset(spec, source, str(error)) from error


def model_snapshot(spec: ModelSpec, source: HubModel) -> Path:
    """The folder with config, tokenizer and weights, likewise. Never the code that a repository may hold."""
    try:
        return download(source.id, "model", source.revision, [*SMALL, *WEIGHTS[source.weights]])
    except DataError as error:
        raise missing_model(spec, source, str(error)) from error


def data_patterns(spec: DatasetSpec, source: HubData) -> list[str]:
    """Which files of the repository are needed: the card's, else `[config/]<split>-*.parquet`."""
    if source.files:
        return [*source.files.values()]
    prefix = f"{source.config}/" if source.config else ""
    return [f"{prefix}{split}-*.parquet" for split in upstream_splits(spec)]


def download(repo: str, kind: str, revision: str | None, patterns: list[str]) -> Path:
    """The snapshot folder of a "dataset" or "model" repository; only files of `patterns`.

    Raises Unavailable with half a sentence: why it cannot be had.
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    client: Any = HfHubHTTPError.__bases__[0]  # any error of the HTTP client that the library uses, a cut line too
    why_not = unreachable()
    call: dict[str, Any] = {"repo_type": kind, "revision": revision, "allow_patterns": patterns}
    try:
        return Path(snapshot_download(repo, local_files_only=why_not is not None, **call))
    except LocalEntryNotFoundError as error:
        raise Unavailable(why_not or "the hub does not answer") from error
    except (client, OSError) as error:
        raise _unavailable(error, repo, revision) from error


def _unavailable(error: Exception, repo: str, revision: str | None) -> Unavailable:
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, GatedRepoError):
        return Unavailable(
            "access to it is gated", f"accept its terms at {_hub()}/{repo}, then set HF_TOKEN", gated=True
        )
    if isinstance(error, RepositoryNotFoundError):  # also what the hub says of a private one to those without access
        todo = "correct the id on the card; a private repository needs HF_TOKEN"
        return Unavailable("the hub shows no repository of that id", todo)
    if isinstance(error, RevisionNotFoundError):
        return Unavailable(f"it has no revision {revision or 'main'}", "correct `revision` on the card")
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        if status in (401, 403):
            return Unavailable(f"the hub refuses it ({status})", "set HF_TOKEN to a token that may read it", gated=True)
        return Unavailable(f"the hub answers with an error ({status})")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return Unavailable(
            "the disk is full", "make room, or set HF_HOME to a larger disk; then run this command again"
        )
    return Unavailable(f"the download broke off ({type(error).__name__}: {_first_line(error)})")


def _hub() -> str:
    return os.environ.get("HF_ENDPOINT") or "https://huggingface.co"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or "no reason given").splitlines()[0]


def unreachable() -> str | None:
    """Why the hub cannot be asked, else None: told to be offline, or no connection within `PATIENCE` seconds."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return "HF_HUB_OFFLINE is set"
    return silent(_hub())


def silent(url: str) -> str | None:
    """`HOST does not answer`, when it (or the proxy before it) takes no call within `PATIENCE` seconds; else None."""
    address = urlsplit((_proxy() if url.startswith("https:") else None) or url)
    host, port = address.hostname or "", address.port or (80 if address.scheme == "http" else 443)
    answered = threading.Event()
    threading.Thread(
        target=tcp_connect, args=(host, port, answered), daemon=True
    ).start()  # a name lookup has no timeout
    return None if answered.wait(PATIENCE) else f"{host} does not answer"


def missing_dataset(spec: DatasetSpec, source: HubData, reason: str) -> NotHere:
    where = f"{source.id} ({source.config})" if source.config else source.id
    return NotHere(
        f"dataset {spec.name}: {where} is neither under PEFTLAB_MIRROR nor in the hub's cache, and {reason}; "
        f"where there is a network, run: peftlab fetch dataset={spec.name}"
    )


def missing_model(spec: ModelSpec, source: HubModel, reason: str) -> NotHere:
    return NotHere(
        f"model {spec.name}: {source.id} is neither under PEFTLAB_MIRROR nor in the hub's cache, and {reason}; "
        f"where there is a network, run: peftlab fetch model={spec.name} (model.size=tiny needs none)"
    )


def cached(repo: str, kind: str) -> Path:
    """Where the hub's own cache keeps a "dataset" or "model" repository, whether it is there or not."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type=kind)


def _in_cache(repo: str, kind: str) -> bool:
    """Whether the hub's cache holds anything of it; a file that is missing then shows when it is read."""
    return any((cached(repo, kind) / "snapshots").glob("*/*"))


def _proxy() -> str | None:
    names = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def tcp_connect(host: str, port: int, answered: threading.Event) -> None:
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except OSError:
        return
    answered.set()
