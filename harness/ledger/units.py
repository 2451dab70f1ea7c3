"""Bytes and seconds as a person reads them, alike in every table: powers of ten, one decimal or none."""


def format_bytes(count: float | None) -> str:
    """`410 MB`, `1.2 GB` (10^9 bytes); a dash where there is no count."""
    if count is None:
        return "–"
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:,.{1 if unit == 'GB' or count < 10 * size else 0}f} {unit}"
    return f"{count:.0f} B"


def format_duration(seconds: float | None) -> str:
    """`0.42 s`, `12.3 s`, `45 min`, `3.5 h`; a dash where there is no time."""
    if seconds is None:
        return "–"
    if seconds < 120:
        return f"{seconds:.{1 if seconds >= 1 else 2}f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
