"""A W&B server on 127.0.0.1 that keeps what it is told: as much of the protocol as a run and `wandb sync` speak.

It has one user, takes every API key, and answers only what wandb asks of it. Artifacts and tables are left out.
"""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0123456789abcdef" * 2 + "01234567"  # as long as a real one


@dataclass
class UpThere:
    """One run, as the server has it. `history` maps the line number of a row to the row."""

    config: dict[str, Any] = field(default_factory=dict)
    group: str | None = None
    history: dict[int, dict[str, Any]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_codes: list[int] = field(default_factory=list)  # one for every attempt that was uploaded to its end


@dataclass
class Server:
    """What was uploaded so far, and how many requests it took."""

    url: str
    runs: dict[str, UpThere] = field(default_factory=dict)
    requests: int = 0

    def graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        if "upsertBucket" in query:
            return {"upsertBucket": {"bucket": self._upsert(variables), "inserted": True}}
        if "RunResumeStatus" in query:
            return {"model": _PROJECT | {"bucket": self._resume(variables["name"])}}
        if "createRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.url}/put/{name}"} for name in variables["files"]]
            return {"createRunFiles": {"runID": variables["run"], "uploadHeaders": [], "files": files}}
        return {
            "viewer": {"id": "u", "entity": "someone", "username": "someone", "flags": "{}", "teams": {"edges": []}}
        }

    def stream(self, run_id: str, body: dict[str, Any]) -> None:
        run = self.runs[run_id]
        for name, chunk in body.get("files", {}).items():
            rows = [json.loads(line) for line in chunk["content"]] if name.startswith("wandb-") else []
            if name == "wandb-history.jsonl":
                run.history |= {chunk["offset"] + number: row for number, row in enumerate(rows)}
            if name == "wandb-summary.json":
                run.summary |= rows[-1]
        if body.get("complete"):
            run.exit_codes.append(body["exitcode"])

    def _upsert(self, variables: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.setdefault(variables["name"], UpThere())
        run.config |= json.loads(variables.get("config") or "{}")
        run.group = variables.get("groupName") or run.group
        return {"id": "b", "name": variables["name"], "displayName": "", "config": json.dumps(run.config)} | {
            "project": _PROJECT, "historyLineCount": len(run.history), "description": "", "sweepName": None,
        }  # fmt: skip

    def _resume(self, run_id: str) -> dict[str, Any] | None:
        if (run := self.runs.get(run_id)) is None:
            return None
        tail = [json.dumps(run.history[max(run.history)])] if run.history else []
        counts = {"historyLineCount": len(run.history), "eventsLineCount": 0, "logLineCount": 0}
        return counts | {
            "id": "b", "name": run_id, "displayName": "", "summaryMetrics": json.dumps(run.summary), "tags": [],
            "historyTail": json.dumps(tail), "eventsTail": "[]", "config": json.dumps(run.config), "notes": None,
            "wandbConfig": json.dumps({"t": 1}),
        }  # fmt: skip


_PROJECT = {"id": "p", "name": "peftlab", "entity": {"id": "e", "name": "me"}}


@contextmanager
def wandb_server() -> Iterator[Server]:
    """A server for as long as the block lasts; point wandb at it with WANDB_BASE_URL and any WANDB_API_KEY."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            with lock:
                server.requests += 1
                said: dict[str, Any] = {}
                if self.path == "/graphql":
                    asked = json.loads(body)
                    said = {"data": server.graphql(asked["query"], asked.get("variables") or {})}
                elif self.path.endswith("/file_stream"):
                    server.stream(self.path.split("/")[-2], json.loads(body))
            text = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = answer

        def handle(self) -> None:
            with suppress(ConnectionError):  # wandb drops its idle connections when it ends
                super().handle()

        def log_message(self, format: str, *args: object) -> None:
            pass

    lock = threading.Lock()
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Server(f"http://127.0.0.1:{http.server_port}")
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
