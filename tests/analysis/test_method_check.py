"""The contract and the probe of `peftlab check-method`, in the report of its sweep."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.load import load
from analysis.report.build import write_report
from analysis.report.content import sections
from analysis.tables.method_check import check_tables
from harness.ledger.method_check import VERSION, MethodCheck, Promise, check_path, write_check

RATIO = {"value": 0.9, "low": 0.8, "high": 1.0, "n": 12}


def entrant(label: str, **changes: Any) -> dict[str, Any]:
    speed = {f"step_ms_{part}": {"value": ms, "unit": "ms", "n": 12} for part, ms in (("median", 10.0), ("p5", 9.0))}
    speed["step_ms_p95"] = {"value": 12.0, "unit": "ms", "n": 12}
    exact = {
        "saved_for_backward": {"value": 3e6, "unit": "B", "n": 1},
        "trainable": {"value": 1024, "unit": "", "n": 1},
    }
    rest = {"noisy": False, "why_not_comparable": None, "ratios": {"step_ms_over_peft_lora": RATIO}}
    return {"name": label, "label": label, "speed": speed, "exact": exact} | rest | changes


CHECK = MethodCheck(
    VERSION,
    "gated",
    "0123456789abcdef",
    (Promise("merge", "works", ""), Promise("Conv1D", "refused", "no Conv1D."), Promise("start", "noted", "it moves.")),
    {
        "setting": {"model": "minilm", "layers": 2, "batch": 16, "tokens": 64},
        "provenance": {"device": {"name": "a CPU"}, "threads": 2},
        "rows": [
            entrant("LoRA"),
            entrant("Gated", noisy=True, why_not_comparable="others ran"),
            {"label": "DoRA", "why": "no"},
        ],
    },
)


def texts(table: Any) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


def test_the_contract_and_the_probe_stand_in_the_page_and_beside_it(written: Callable[..., Path]) -> None:
    runs = written()
    write_check(runs, "tiny", CHECK)
    page = write_report(load("tiny", runs), runs.parent / "report")
    text = page.read_text(encoding="utf-8")
    assert 'id="method"' in text and "0123456789abcdef" in text and "no Conv1D." in text
    assert (page.parent / "contract.csv").read_text().splitlines()[2] == "Conv1D,refused,no Conv1D."
    assert (page.parent / "step.csv").read_text().splitlines()[1].startswith("LoRA,10.0,3000000.0")


def test_every_promise_has_its_state_in_words_and_a_noisy_entrant_no_ratio(written: Callable[..., Path]) -> None:
    runs = written()
    write_check(runs, "tiny", CHECK)
    contract, step = check_tables(load("tiny", runs))
    assert [row[1] for row in texts(contract)] == ["kept", "refused: no Conv1D.", "its own by design: it moves."]
    assert texts(step) == [
        ["LoRA", "10.0 [9.0, 12.0]", "0.900 [0.800, 1.000]", "3.0", "–", "1,024"],
        ["Gated", "10.0 [9.0, 12.0]", "–", "3.0", "–", "1,024"],
        ["DoRA", "–", "–", "–", "–", "–"],
    ]
    assert step.notes[1:] == ("Gated: others ran", "DoRA: no") and step.rows[1][2].why == "others ran"


@pytest.mark.parametrize("text", [None, "", "{}", '{"version": 1}', "[1"])
def test_without_a_check_that_can_be_read_there_is_no_such_section(
    text: str | None, written: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    runs = written()
    if text is not None:
        write_check(runs, "tiny", CHECK)
        check_path(runs, "tiny").write_text(text)
    assert "method" not in [section.key for section in sections(load("tiny", runs))]
    assert ("tiny.json is left out" in caplog.text) == (text is not None)
