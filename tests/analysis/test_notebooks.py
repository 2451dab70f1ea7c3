"""The notebooks hold no output, run from top to bottom, and show their tables."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import analysis
from harness.ledger.record import Record
from tests.analysis.diagnosed_store import write_sides
from tests.analysis.rank_store import write_ranks
from tests.analysis.squeeze_store import write_squeezed

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed (extra: notebooks)")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (extra: notebooks)")
pytest.importorskip("ipykernel", reason="ipykernel is not installed (extra: notebooks)")

ROOT = Path(analysis.__file__ or "").parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_the_six_notebooks_are_there() -> None:
    names = ["beyond_lora", "generalisation", "quickstart", "rank", "reanalysis", "squeeze"]
    assert [path.stem for path in NOTEBOOKS] == names


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_in_git_has_no_output(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    assert all(
        cell["outputs"] == [] and cell["execution_count"] is None for cell in cells if cell["cell_type"] == "code"
    )
    assert len(cells) <= 12


def shown(path: Path, folder: Path) -> str:
    """All HTML and SVG that a notebook shows when it is run in `folder`."""
    book = nbformat.read(path, as_version=4)
    patient = {"timeout": 600, "startup_timeout": 600, "iopub_timeout": 60}  # a loaded machine fails no test
    nbclient.NotebookClient(book, **patient, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [out for cell in book.cells if cell.cell_type == "code" for out in cell.outputs]
    return "\n".join(
        "".join(out.get("data", {}).get(kind, "")) for out in outputs for kind in ("text/html", "image/svg+xml")
    )


@pytest.fixture
def on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The kernel finds this checkout, and keeps its own files in the test's folder."""
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(filter(None, (str(ROOT.parent), os.environ.get("PYTHONPATH", ""))))
    )
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")


@pytest.mark.long
@pytest.mark.parametrize("name", ["quickstart", "beyond_lora"])
def test_a_notebook_makes_its_tables_from_records(
    name: str, on_path: None, study_writer: Callable[..., object], tmp_path: Path
) -> None:
    lost = {"fail": (("lora", "minilm", "mrpc", 0),), "missing": (("cla", "gpt2", "e2e", 1),)}
    study_writer(tmp_path / "runs", name=name, blocks=(("minilm", "mrpc"), ("gpt2", "e2e")), **lost)
    said = shown(ROOT / "notebooks" / f"{name}.ipynb", tmp_path)
    assert "(2/3)" in said
    assert "failed: oom" in said
    assert said.count("<svg") >= (2 if name == "quickstart" else 1)


@pytest.mark.long
def test_the_squeeze_notebook_makes_its_tables_and_curves_from_records(
    on_path: None, study_records: Callable[..., Record], tmp_path: Path
) -> None:
    write_squeezed(tmp_path / "runs", study_records, size="tiny")
    said = shown(ROOT / "notebooks" / "squeeze.ipynb", tmp_path)
    assert said.count("<svg") == 2
    for title in ("printed differences over tasks", "Procedures of LoRA-Squeeze", "What Post-Squeeze gains"):
        assert title in said
    assert all(f"LoRA-Squeeze, Table {number}" in said for number in (1, 6, 7, 8))


@pytest.mark.long
def test_the_rank_notebook_makes_its_tables_and_pictures_from_records(
    on_path: None, study_records: Callable[..., Record], tmp_path: Path
) -> None:
    write_ranks(tmp_path / "runs", study_records, name="rank_strategies_tiny")
    said = shown(ROOT / "notebooks" / "rank.ipynb", tmp_path)
    assert said.count("<svg") == 2 and "Rank strategies" in said and "Attention against MLP" in said


@pytest.mark.long
def test_the_generalisation_notebook_makes_its_tables_and_pictures_from_side_records(
    on_path: None, written: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = written()
    write_sides(runs)
    shutil.copytree(runs, tmp_path / "book" / "runs")
    monkeypatch.setenv("PEFTLAB_SWEEP", "tiny")
    shown_parts = shown(ROOT / "notebooks" / "generalisation.ipynb", tmp_path / "book")
    assert shown_parts.count("<svg") == 7
    titles = ("G(W), measured", "Which number predicts", "What was forgotten", "Score and retention", "Curvature of")
    for title in titles:
        assert title in shown_parts


@pytest.mark.long
def test_the_reanalysis_needs_no_records(on_path: None, tmp_path: Path) -> None:
    said = shown(ROOT / "notebooks" / "reanalysis.ipynb", tmp_path)
    assert "Mean ranks over 20 blocks" in said
    assert "Mean ranks over 10 blocks" in said
    assert said.count("<svg") == 2
