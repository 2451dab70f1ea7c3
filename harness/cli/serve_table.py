"""The table of `peftlab serve-probe`."""

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from harness.cli.tables import folding_table


def print_served(answer: Mapping[str, Any]) -> None:
    writes = "decode" in answer["rows"][0]
    table = folding_table(
        "",
        "prefill ms",
        "over merged",
        *(("decode ms a token", "over merged") if writes else ()),
        "per second",
        "on disk",
    )
    for row in answer["rows"]:
        cells = [cell for part in ("prefill", "decode") if part in row for cell in _cells(row[part])]
        last = row["decode" if writes else "prefill"]["per_second"]
        table.add_row(
            row["way"], *cells, f"{last:,.1f}", "" if row["bytes"] is None else f"{row['bytes'] / 1e6:,.2f} MB"
        )
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    console.print(table)
    asked = answer["request"]
    console.print(
        f"ms: median of {asked['rounds']} rounds [5 %, 95 %]; over merged: [95 % interval by bootstrap over rounds]. "
        f"batch {asked['batch']}, {asked['length']} tokens. per second: tokens written, or requests of a classifier."
    )
    for dtype, errors in answer["merge_error"].items():
        shares = ", ".join(f"{way} {error:.1e}" for way, error in errors.items())
        scores = (answer["score"] or {}).get(dtype, {})
        told = "".join(f"; {way} scores {value:.4f}" for way, value in scores.items())
        console.print(f"{dtype}: largest error of a logit over the largest logit: {shares}{told}")
    if why := answer["why_not_comparable"]:
        console.print(f"~ times are not comparable: {why}", markup=False)


def _cells(part: Mapping[str, Any]) -> tuple[str, str]:
    ratio = part["over_merged"]
    times = f"{part['median_ms']:.2f} [{part['p5_ms']:.2f}, {part['p95_ms']:.2f}]"
    return times, f"{ratio['value']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]"
