"""The survey of a sweep on a terminal: a matrix of cells, the running runs, the failures and the cells left out."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.cli.tables import folding_table
from harness.execution.sweep_state import STAGES, RunRow, Survey

AXES = ("method", "model", "dataset", "recipe", "seed")  # shown by the matrix itself; other choices are settings

MARKS = {"done": "✓", "running": "▶", "pending": "…", "failed": "✗", "stopped": "‖", "missing": "·", "damaged": "!"}
STYLES = {"done": "green", "running": "cyan", "failed": "red", "damaged": "red", "stopped": "yellow"}
MOST = 20  # lines of one kind; --json has them all


def show(state: Survey, seconds_left: float | None) -> None:
    Console(highlight=False).print(_page(state, seconds_left), crop=False)


def watch(look: Callable[[], Sequence[tuple[Survey, float | None]]], every: float) -> None:
    """Redraw until nothing runs or waits, or until Ctrl-C."""
    with Live(console=Console(highlight=False), auto_refresh=False) as live:
        while True:
            states = look()
            live.update(Group(*(_page(each, left) for each, left in states)), refresh=True)
            if all(each.over for each, _ in states):
                return
            time.sleep(every)


def _page(state: Survey, left: float | None) -> RenderableType:
    counts = [f"{count} {stage}" for stage in STAGES if (count := state.count(stage))]
    counts += [f"{len(state.skipped)} cells skipped"] if state.skipped else []
    title = f"{state.name}: {', '.join(counts)}" + (f"; about {_span(left)} left" if left is not None else "")
    parts: list[RenderableType] = [Text(title, style="bold"), _matrix(state), Text(_legend(state), style="dim")]
    hidden = "what waits in its queue is shown as missing or stopped."
    parts += [Text(f"{why}: {hidden}", style="yellow") for why in state.silent]
    parts += _lines([row for row in state.rows if row.stage == "running"], _running, "cyan")
    parts += _lines([row for row in state.rows if row.stage == "failed"], _failed, "red")
    parts += _lines([row for row in state.rows if row.stage == "missing" and row.message], _lost, "yellow")
    skipped = Counter(each.why for each in state.skipped)
    parts += [Text(f"skipped ({count}): {why}", style="dim") for why, count in skipped.most_common(MOST)]
    return Group(*parts)


def _matrix(state: Survey) -> Table:
    """Methods down, model and dataset across; each cell says how many of its runs are where."""
    columns: dict[str, None] = {}
    cells: dict[str, dict[str, Counter[str]]] = {}
    for row in state.rows:
        line, column = _place(row.choices)
        columns.setdefault(column)
        stage = f"failed:{row.why}" if row.stage == "failed" else row.stage
        cells.setdefault(line, {}).setdefault(column, Counter())[stage] += 1
    for each in state.skipped:
        line, column = _place(each.choices)
        columns.setdefault(column)
        cells.setdefault(line, {}).setdefault(column, Counter())["skipped"] += 1
    table = folding_table("", *columns, box=None, padding=(0, 2, 0, 0))
    for line, across in cells.items():
        table.add_row(line, *(_cell(across.get(column, Counter())) for column in columns))
    return table


def _place(choices: Mapping[str, Any]) -> tuple[str, str]:
    """The matrix's row (method and its settings) and column (model, dataset and theirs)."""
    column = "/".join(str(choices[axis]) for axis in ("model", "dataset") if axis in choices) or "runs"
    settings = {key: value for key, value in choices.items() if key not in AXES}
    of_data = [_short(key, value) for key, value in settings.items() if key.startswith(("model.", "dataset."))]
    of_method = [_short(key, value) for key, value in settings.items() if not key.startswith(("model.", "dataset."))]
    return " ".join([str(choices.get("method", "")), *of_method]), " ".join([column, *of_data])


def _short(key: str, value: object) -> str:
    return f"{key.rpartition('.')[2]}={value}"


def _cell(counts: Counter[str]) -> Text:
    text = Text()
    for stage, count in counts.items():
        name, _, kind = stage.partition(":")
        word = "skipped" if name == "skipped" else f"{count}{MARKS[name]}{kind}"
        text.append(word + " ", style=STYLES.get(name, "dim"))
    return text


def _legend(state: Survey) -> str:
    return "  ".join(f"{MARKS[stage]} {stage}" for stage in STAGES if state.count(stage))


def _lines(rows: list[RunRow], line: Callable[[RunRow], str], style: str) -> list[RenderableType]:
    shown: list[RenderableType] = [Text(line(row), style=style, no_wrap=True, overflow="ignore") for row in rows[:MOST]]
    return shown + ([Text(f"… and {len(rows) - MOST} more (--json has all)")] if len(rows) > MOST else [])


def _running(row: RunRow) -> str:
    at = row.progress
    if at is None:
        far = "starting"
    else:
        share = f" ({at.step / at.total:.0%})" if at.total else ""
        left = f", about {_span(at.seconds_left)} left" if at.seconds_left is not None else ""
        far = f"step {at.step}{f' of {at.total}' if at.total else ''}{share}{left}"
    return f"running {row.id} {far}: {_words(row)}; {row.where}"  # a narrow terminal cuts the end off


def _failed(row: RunRow) -> str:
    first = row.message.splitlines()[0] if row.message else ""
    return f"failed({row.why}) {row.id} {_words(row)}: {first}"


def _lost(row: RunRow) -> str:
    return f"missing {row.id} {_words(row)}: {row.message}"


def _words(row: RunRow) -> str:
    return " ".join(f"{key}={value}" for key, value in row.choices.items())


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else (f"{minutes} min {rest:02d} s" if minutes else f"{rest} s")
