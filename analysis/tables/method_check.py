"""What `peftlab check-method` found before the sweep: the contract's rows, and the probe's step times beside LoRA's."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.frame import Frame
from analysis.table import Cell, Head, Mark, Table
from harness.ledger.method_check import STATES, MethodCheck, Promise, read_check

MARKS: Mapping[str, Mark] = {"refused": "absent", "broken": "bad"}
MB, GFLOP = 1e6, 1e9


def check_tables(frame: Frame) -> tuple[Table, ...]:
    """(contract, probe); none for a sweep that no check came before."""
    check = None if frame.runs is None else read_check(frame.runs, frame.name)
    return () if check is None else (_contract(check), _probe(check))


def _contract(check: MethodCheck) -> Table:
    rows = tuple((Cell(row.promise), Cell(_said(row), mark=MARKS.get(row.state, ""))) for row in check.contract)
    notes = [
        "Tried on tiny random models before any run, ranks above 4 as 4. text (BERT), image (ViT), causal LM (Llama), "
        "Conv1D (GPT-2), quantised (NF4) and bf16: three training steps move the output. merge, export: the same "
        "outputs after it; resume, checkpointing, sharded: the same as without. plugin: methods.library has it."
    ]
    if check.code:
        notes.append(f"The method is of one file, whose text has the digest {check.code}; its runs' specs name it.")
    data = pd.DataFrame([vars(row) for row in check.contract])
    heads = Head("promise"), Head("what came of it")
    return Table("contract", f"The contract of {check.method}", heads, rows, tuple(notes), data)


def _said(row: Promise) -> str:
    return ": ".join(filter(None, (STATES.get(row.state, row.state), row.why)))


def _probe(check: MethodCheck) -> Table:
    entrants = check.probe["rows"]
    rows = tuple((Cell(row["label"]), *_cells(row)) for row in entrants)
    heads = (
        Head("entrant"), Head("step", "ms", "min"), Head("step / peft library's LoRA"),
        Head("saved for backward", "MB", "min"), Head("work of a step", "GFLOP", "min"), Head("trainable"),
    )  # fmt: skip
    s, p = check.probe["setting"], check.probe["provenance"]
    notes = [
        f"{s['model']}, {s['layers']} layers, batch {s['batch']} × {s['tokens']} tokens, {p['device']['name']}, "
        f"{p['threads']} threads. Entrants take turns. Step: median [5 %, 95 %] of all timed steps. Ratio: median over "
        "rounds [95 % interval by bootstrap over rounds]; memory and work are counted, equal on any machine."
    ]
    notes += [f"{row['label']}: {why}" for row in entrants if (why := row.get("why") or row.get("why_not_comparable"))]
    data = pd.DataFrame([_plain(row) for row in entrants])
    return Table("step", "A training step, side by side", heads, rows, tuple(notes), data)


def _cells(row: Mapping[str, Any]) -> tuple[Cell, ...]:
    """Of an entrant whose times may not be compared, the ratio is absent."""
    step, low, high = (_value(row, "speed", f"step_ms_{part}") for part in ("median", "p5", "p95"))
    ratio = (row.get("ratios") or {}).get("step_ms_over_peft_lora")
    why = row.get("why") or row.get("why_not_comparable") or "no rounds of both"
    return (
        Cell(f"{step:.1f} [{low:.1f}, {high:.1f}]", step) if step is not None else _absent(why),
        Cell(f"{ratio['value']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]", ratio["value"])
        if ratio and not row.get("noisy")
        else _absent(why),
        _counted(row, "saved_for_backward", MB, 1),
        _counted(row, "flops_per_step", GFLOP, 1),
        _counted(row, "trainable", 1, 0),
    )


def _counted(row: Mapping[str, Any], name: str, unit: float, digits: int) -> Cell:
    value = _value(row, "exact", name)
    return (
        _absent(row.get("why") or "not counted") if value is None else Cell(f"{value / unit:,.{digits}f}", value / unit)
    )


def _absent(why: str) -> Cell:
    return Cell("–", mark="absent", why=why)


def _value(row: Mapping[str, Any], group: str, name: str) -> float | None:
    return ((row.get(group) or {}).get(name) or {}).get("value")


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A line of the CSV: every number that there is, ratios of noisy entrants too, marked."""
    names = {"step_ms": ("speed", "step_ms_median"), "saved_bytes": ("exact", "saved_for_backward")}
    names |= {"flops_per_step": ("exact", "flops_per_step"), "trainable": ("exact", "trainable")}
    ratio = (row.get("ratios") or {}).get("step_ms_over_peft_lora") or {}
    numbers = {name: _value(row, *where) for name, where in names.items()}
    return {"entrant": row["label"], **numbers, "over_peft_lora": ratio.get("value"), "noisy": row.get("noisy")}
