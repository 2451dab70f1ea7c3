"""lm-evaluation-harness, another project's client, scores a merged language model as the run did (extra `lm-eval`)."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.__main__ import main
from harness.data.source import find_source
from harness.data.splits import divide
from harness.ledger.store import Store
from harness.tasks.prompt import whole
from tests.cli.test_plain_client import finished

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("lm_eval") is None, reason="pip install 'peftlab[lm-eval]'"),
]
WORDS = ("method=cla", "model=tinyllama", "size=tiny", "dataset=kinship_choice", "dataset.task.max_length=512",
         "+dataset.split.limit={train: 120}", "dataset.task.candidates=[' a',' the',' is']")  # fmt: skip


def test_its_accuracy_of_a_merged_llama_is_the_runs_own(tmp_path, peftlab_cache):
    """With candidates of one token each, the sum that lm-eval takes of log-likelihoods is the mean that we take."""
    spec, run_id, _ = finished(tmp_path, peftlab_cache, WORDS)
    words = [f"runs={tmp_path / 'runs'}", f"cache={peftlab_cache}"]
    assert main(["merge", run_id, str(tmp_path / "merged"), *words]) == 0
    tables, _ = find_source(spec.dataset).read()
    part = divide(spec.dataset, tables)["test"]
    rows = [tables[part.source].slice(row, 1).to_pylist()[0] for row in part.rows]
    task = spec.dataset.task
    asked = [{"text": whole(task.prompt, row), "label": list(task.labels).index(str(row["hops"]))} for row in rows]
    (tmp_path / "asked.jsonl").write_text("\n".join(map(json.dumps, asked)))
    (tmp_path / "task.json").write_text(json.dumps(list(task.candidates)))
    client = [sys.executable, "-I", str(Path(__file__).with_name("lm_eval_client.py")), str(tmp_path)]
    said = subprocess.run(client, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr[-3000:]
    own = Store(tmp_path / "runs").read(run_id).scores["test"]["accuracy"]
    assert json.loads(said.stdout.splitlines()[-1]) == pytest.approx(own.value, abs=1e-9)
    assert own.n == len(asked)
