"""A frame from W&B, asked through its public API from a server on the loopback interface: no network, no account."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from analysis.figures.curves import curve_table
from analysis.from_wandb import from_wandb
from analysis.load import load
from analysis.tables.study import table2
from harness.cli.arguments import call
from harness.ledger.errors import RecordError
from harness.ledger.quantity import Measured
from harness.ledger.record import Point, Record
from harness.ledger.store import Store


def mirrored(record: Record) -> dict[str, Any]:
    """What the mirror sends up: the record's numbers under flat names."""
    groups = {"seconds": record.seconds, "speed": record.speed, "memory": record.memory, "ledger": record.ledger}
    groups |= {"work": record.work, "parameters": record.parameters} | dict(record.scores)
    found = {f"{g}/{k}": q.value for g, qs in groups.items() for k, q in qs.items() if isinstance(q, Measured)}
    failure = {"failure": record.failure.kind, "message": record.failure.message} if record.failure else {}
    return {"status": record.status} | failure | found


def logged(point: Point) -> dict[str, Any]:
    """What the mirror logs at a validation point."""
    val = {f"val_{name}": value for name, value in point.val.items()}
    return {
        "_step": point.step,
        "_timestamp": 1.0,
        "epoch": point.epoch,
        "train_loss": point.train_loss,
        "lr": point.lr,
    } | val


class UpThere:
    """What the server holds: nodes by group, and the filters it was asked with."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.history: dict[str, list[dict[str, Any]]] = {}
        self.pages = 0

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        if "RunFullHistory" in asked["query"]:
            points = self.history[asked["variables"]["name"]]
            return {"project": {"run": {"history": [json.dumps(point) for point in points]}}}
        if "runs(" not in asked["query"]:
            return {"viewer": {"id": "u", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}
        variables = asked["variables"]
        group = json.loads(variables["filters"])["group"]
        start, size = int(variables.get("cursor") or 0), 10  # small pages, so that paging is tested
        chosen = [node for node in self.nodes if node["group"] == group]
        edges = [{"node": node, "cursor": str(i + 1)} for i, node in enumerate(chosen)][start : start + size]
        self.pages += 1
        page = {"endCursor": str(start + size), "hasNextPage": start + size < len(chosen)}
        runs = {"edges": edges, "pageInfo": page}
        return {"project": {"internalId": "7", "runCount": len(chosen), "readOnly": False, "runs": runs}}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[UpThere]:
    up_there = UpThere()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            said = {"data": up_there.answer(json.loads(body))} if self.path == "/graphql" else {}
            text = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{http.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef" * 2 + "01234567")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield up_there
    http.shutdown()
    http.server_close()


def upload(server: UpThere, runs: Path, group: str = "tiny") -> None:
    for record in Store(runs).records():
        server.history[record.id] = [logged(point) for point in record.curve]
        config = {key: {"value": value} for key, value in record.spec.items()}
        server.nodes.append({
            "id": record.id, "name": record.id, "displayName": record.id, "group": group, "tags": [],
            "state": "finished",
            "config": json.dumps(config), "summaryMetrics": json.dumps(mirrored(record)), "systemMetrics": "{}",
            "projectId": "7", "sweepName": None, "historyKeys": None, "createdAt": "2026-11-22T00:00:00Z",
            "heartbeatAt": "2026-11-22T00:00:00Z", "user": {"name": "me", "username": "me"}, "jobType": "run",
            "readOnly": False, "commit": None, "description": "", "notes": None, "historyLineCount": 0,
        })  # fmt: skip


def test_the_score_table_is_the_local_one(server: UpThere, written: Callable[..., Path], tmp_path: Path) -> None:
    runs = written(about={})
    upload(server, runs)
    upload(server, written(name="other", seeds=(9,)), group="other")
    here = load("tiny", runs)
    there = from_wandb("tiny", "me/peftlab", tmp_path)
    theirs, ours = (table2(frame).data.sort_values(["block", "method"], ignore_index=True) for frame in (there, here))
    assert theirs.equals(ours)
    assert server.pages >= 3
    assert any("taken for what was planned" in note for note in there.notes)


def test_the_learning_curves_are_the_local_ones(server: UpThere, written: Callable[..., Path], tmp_path: Path) -> None:
    runs = written()
    upload(server, runs)
    there, here = (curve_table(f) for f in (from_wandb("tiny", "me/peftlab", runs), load("tiny", runs)))
    assert len(here) == 4 * 2 * 3
    assert there.equals(here)


def test_a_local_plan_shows_what_is_not_up_there(server: UpThere, written: Callable[..., Path]) -> None:
    runs = written(fail=(("lora", "minilm", "mrpc", 0),))
    upload(server, runs)
    del server.nodes[3]
    with pytest.raises(RecordError, match="1 of 24"):
        from_wandb("tiny", "me/peftlab", runs)
    frame = from_wandb("tiny", "me/peftlab", runs, partial=True)
    assert (frame.rows["status"] == "missing").sum() == 1
    failed = frame.rows[frame.rows["status"] == "failed"].iloc[0]
    assert failed["reason"].startswith("failed: oom")


def test_settings_that_differ_are_refused_from_there_too(server: UpThere, written: Callable[..., Path]) -> None:
    def other_batch(record: Record) -> Record:
        if record.spec["method"]["name"] != "cla":
            return record
        return replace(record, spec={**record.spec, "recipe": {**record.spec["recipe"], "batch_size": 16}})

    runs = written(edit=other_batch)
    upload(server, runs)
    with pytest.raises(RecordError, match=r"recipe\.batch_size is 16 \(cLA\)"):
        from_wandb("tiny", "me/peftlab", runs)
    assert any("Settings differ" in note for note in from_wandb("tiny", "me/peftlab", runs, allow_mixed=True).notes)


def test_a_project_without_the_sweep_is_one_sentence(server: UpThere, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no run of sweep 'tiny'"):
        from_wandb("tiny", "me/peftlab", tmp_path)


def test_the_report_verb_reads_from_wandb(
    server: UpThere, written: Callable[..., Path], tmp_path: Path, capsys
) -> None:
    upload(server, written(blocks=(("minilm", "mrpc"),), methods=("lora", "cla")))
    words = [
        "sweep=tiny",
        "--runs",
        str(tmp_path),
        "--out",
        str(tmp_path / "out"),
        "--from",
        "wandb",
        "me/peftlab",
        "--json",
    ]
    assert call("report", words) == 0
    assert len(json.loads(capsys.readouterr().out)["cells"]) == 2
