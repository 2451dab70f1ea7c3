"""A model and dataset hub on 127.0.0.1 that serves files from memory: as much of the protocol as a snapshot needs."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c" * 40


@dataclass
class Hub:
    """`files`: "models" or "datasets" and the repository's id -> path -> content. Gated ones answer 401."""

    url: str = ""
    files: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)  # paths that arrive with their first byte changed
    cut: set[str] = field(default_factory=set)  # paths whose connection ends half-way
    served: list[str] = field(default_factory=list)  # paths whose content was sent

    def find(self, path: str) -> tuple[str, dict[str, bytes], str] | None:
        """Repository, its files, and what follows the revision in the address."""
        for (kind, repo), files in self.files.items():
            plain = f"/{repo}/resolve/" if kind == "models" else f"/datasets/{repo}/resolve/"
            for prefix in (plain, f"/api/{kind}/{repo}/"):
                if path.startswith(prefix):
                    return repo, files, path.removeprefix(prefix)
        return None


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextmanager
def hub_server() -> Iterator[Hub]:
    """A hub for as long as the block lasts; point clients at it with HF_ENDPOINT."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            found = hub.find(self.path.partition("?")[0])
            if found is None:
                return self.emit(404, b"", {"X-Error-Code": "RepoNotFound"})
            repo, files, rest = found
            if repo in hub.gated:
                said = {"X-Error-Code": "GatedRepo", "X-Error-Message": f"Access to model {repo} is restricted."}
                return self.emit(401, b"", said)
            if (
                self.path.startswith("/api/")
                and "/revision/" in self.path
                and not self.path.endswith(("/main", COMMIT))
            ):
                return self.emit(404, b"", {"X-Error-Code": "RevisionNotFound"})
            if self.path.startswith("/api/"):
                return self.emit(200, json.dumps(_listing(repo, files, rest)).encode(), {})
            name = rest.removeprefix(f"{COMMIT}/")
            content = files[name]
            headers = {"ETag": f'"{digest(content)}"', "X-Repo-Commit": COMMIT}
            if self.command == "GET":
                hub.served.append(name)
                content = b"?" + content[1:] if name in hub.broken else content
                if name in hub.cut:
                    self.close_connection = True
                    return self.emit(200, content[: len(content) // 2], headers | {"Content-Length": str(len(content))})
            self.emit(200, content, headers)

        def emit(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{http.server_port}"
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        http.shutdown()
        http.server_close()


def _listing(repo: str, files: dict[str, bytes], rest: str) -> object:
    """The repository, or its tree of files."""
    if rest.startswith("tree/"):
        return [
            {"type": "file", "path": path, "size": len(content), "oid": "0" * 40,
             "lfs": {"oid": digest(content), "size": len(content), "pointerSize": 1}}
            for path, content in files.items()
        ]  # fmt: skip
    return {"id": repo, "sha": COMMIT, "siblings": [{"rfilename": path} for path in files], "private": False}
