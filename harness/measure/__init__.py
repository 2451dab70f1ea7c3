"""Clocks, peaks, bytes and FLOPs."""
