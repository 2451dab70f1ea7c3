"""`peftlab probe method=lora,cla model=roberta_base batch=16 length=128`: what a training step costs, side by side."""

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence

from hydra.core.override_parser.types import Override

from harness.config.settings import default_cache
from harness.ledger.life import shown
from harness.ledger.quantity import Measured, Quantity
from harness.planning.estimate import PROBES
from harness.planning.history import keep_probe
from harness.probe.request import request_of
from harness.probe.result import EntrantRow, Probe, Ratio, probe_to_json

MB = 1e6


def main(given: Namespace) -> int:
    """Print a table, or with --json the whole result; 1 when an entrant could not be measured."""
    result = measure(given.overrides)
    if given.json:
        print(json.dumps(probe_to_json(result), indent=1))
    else:
        print_probe(result)
    return 1 if any(row.why for row in result.rows) else 0


def measure(overrides: Sequence[Override]) -> Probe:
    """The probe that these words ask for, kept for `peftlab plan`. Raises SpecError for an unknown key or choice."""
    request = request_of(overrides)
    with shown("loading the model", clock=False) as say:
        from harness.probe.run import probe  # torch, once the request is known to be sound

        result = probe(request, say)
    if not request.options.counts:  # `peftlab plan` estimates times from it
        keep_probe(default_cache() / PROBES, probe_to_json(result), request.model.size)
    return result


def print_probe(probe: Probe) -> None:
    """The table on the terminal, and under it what it is of."""
    from rich.console import Console

    from harness.cli.tables import side_by_side

    chains = any(_LINK_END in row.speed for row in probe.rows)
    columns = [(name, cell) for name, cell in COLUMNS if chains or name != "link end ms"]
    rows = [_cells(probe, row, [cell for _, cell in columns]) for row in probe.rows]
    console = Console(width=None if sys.stdout.isatty() else 200)
    options = {"title": title(probe), "caption": CAPTION, "title_justify": "left", "caption_justify": "left"}
    console.print(side_by_side(console, ["", *(name for name, _ in columns)], rows, **options))
    for row in probe.rows:
        if row.why:
            console.print(f"{row.label}: {row.why}", markup=False)
    for row in probe.rows:
        if row.why_not_comparable:
            console.print(f"~ {row.label}: {row.why_not_comparable}", markup=False)


def _cells(probe: Probe, row: EntrantRow, columns: Sequence[Callable[[Probe, EntrantRow], str]]) -> list[str]:
    """The label and a text for each column; dashes for an entrant that was not measured."""
    return [row.label + (" ~" if row.noisy else ""), *("–" if row.why else column(probe, row) for column in columns)]


def title(probe: Probe) -> str:
    """The setting in one line."""
    s = probe.setting
    what = f"{s['model']}, {s['layers']} layers, batch {s['batch']} × {s['tokens']} tokens, dropout off"
    p = probe.provenance
    where = f"{p['device']['name']}, {p['threads']} threads, matrix products by {p['matmul']}"
    return f"{what}, {s['autocast'] or s['weights']}, {where}"


CAPTION = (
    "step: median of all timed steps [5 %, 95 %]. Ratios: median over rounds [95 % interval by bootstrap over rounds]; "
    "CPU: ratio of the process's CPU time. link end: what a chain pays once a link; no step here ends one. "
    "~: times are not comparable, for the reason below. saved: kept for backward."
)
_LINK_END = "link_end_ms_median"


def _step(_: Probe, row: EntrantRow) -> str:
    quantities = [row.speed.get(f"step_ms_{part}") for part in ("median", "p5", "p95")]
    values = [q.value for q in quantities if isinstance(q, Measured)]
    return f"{values[0]:.1f} [{values[1]:.1f}, {values[2]:.1f}]" if len(values) == 3 else "–"


def _ratio(ratio: Ratio | None) -> str:
    return "–" if ratio is None else f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"


def _plain(quantity: Quantity | None, scale: float, digits: int) -> str:
    return f"{quantity.value / scale:,.{digits}f}" if isinstance(quantity, Measured) else "–"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _peak(_: Probe, row: EntrantRow) -> str:
    return _plain(row.memory.get("peak_allocated") if "step_rss" not in row.memory else row.memory["step_rss"], MB, 0)


COLUMNS: tuple[tuple[str, Callable[[Probe, EntrantRow], str]], ...] = (
    ("step ms", _step),
    ("× floor", lambda probe, row: _ratio(probe.time_ratio(row, "floor"))),
    ("× peft LoRA", lambda probe, row: _ratio(probe.time_ratio(row, "peft_lora"))),
    ("CPU × peft LoRA", lambda probe, row: _ratio(probe.time_ratio(row, "peft_lora", cpu=True))),
    ("link end ms", lambda _, row: _plain(row.speed.get(_LINK_END), 1, 1)),
    ("samples/s", lambda _, row: _plain(row.speed.get("samples_per_s"), 1, 1)),
    ("saved MB", lambda _, row: _plain(row.exact.get("saved_for_backward"), MB, 1)),
    ("× peft", lambda probe, row: _share(probe.exact_ratio(row, "peft_lora", "saved_for_backward"))),
    ("GFLOP", lambda _, row: _plain(row.exact.get("flops_per_step"), 1e9, 1)),
    ("step peak MB", _peak),
    ("trainable", lambda _, row: _plain(row.exact.get("trainable"), 1, 0)),
)
