"""Bytes and times in words: powers of ten, hours when long."""

import pytest

from harness.ledger.units import format_bytes, format_duration


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "–"),
        (0, "0 B"),
        (999, "999 B"),
        (1e3, "1.0 kB"),
        (687_000, "687 kB"),
        (7.1e6, "7.1 MB"),
        (410e6, "410 MB"),
    ]
    + [(1e9, "1.0 GB"), (23.94e9, "23.9 GB"), (1.5e12, "1,500.0 GB")],
)
def test_bytes_are_in_powers_of_ten(count: float | None, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.42, "0.42 s"), (12.34, "12.3 s"), (119.9, "119.9 s"), (120, "2 min"), (7199, "120 min")]
    + [(7200, "2.0 h"), (4.5e6, "1,250.0 h")],
)
def test_long_times_are_in_hours(seconds: float | None, text: str) -> None:
    assert format_duration(seconds) == text
