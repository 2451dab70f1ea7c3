"""The table of `peftlab serve-probe`."""

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from harness.cli.tables import folding_table


def print_served(answer: Mapping[str, Any]) -> None:
    writes = "decode" in answer["rows"][0]
    floor = answer["rows"][0]["way"]
    table = folding_table(
        "",
        "prefill ms",
        f"over {floor}",
        *(("decode ms a token", f"over {floor}") if writes else ()),
        "per second",
        "on disk",
    )
    for row in answer["rows"]:
        cells = [cell for part in ("prefill", "decode") if part in row for cell in _cells(row[part], floor)]
        last = row["decode" if writes else "prefill"]["per_second"]
        table.add_row(
            row["way"], *cells, f"{last:,.1f}", "" if row["bytes"] is None else f"{row['bytes'] / 1e6:,.2f} MB"
        )
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    console.print(table)
    asked = answer["request"]
    console.print(
        f"ms: median of {asked['rounds']} rounds [5 %, 95 %]; over {floor}: [95 % interval by bootstrap over rounds]. "
        f"batch {asked['batch']}, {asked['length']} tokens. per second: tokens written, or requests of a classifier."
    )
    if context := answer["context"]:
        places = f" of the model's {context['of']}" if context["of"] else ""
        console.print(f"the prompt takes up {context['tokens']}{places} tokens of context.")
    for dtype, errors in answer["merge_error"].items():
        shares = ", ".join(f"{way} {error:.1e}" for way, error in errors.items())
        scores = (answer["score"] or {}).get(dtype, {})
        told = "".join(f"; {way} scores {value:.4f}" for way, value in scores.items())
        console.print(f"{dtype}: largest error of a logit over the largest logit: {shares}{told}")
    for dtype, scores in (answer["score"] or {}).items():
        if dtype not in answer["merge_error"]:
            console.print(f"{dtype}: " + "; ".join(f"{way} scores {value:.4f}" for way, value in scores.items()))
    if why := answer["why_not_comparable"]:
        console.print(f"~ times are not comparable: {why}", markup=False)


def _cells(part: Mapping[str, Any], floor: str) -> tuple[str, str]:
    ratio = part[f"over_{floor.replace(' ', '_')}"]
    times = f"{part['median_ms']:.2f} [{part['p5_ms']:.2f}, {part['p95_ms']:.2f}]"
    return times, f"{ratio['value']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]"
