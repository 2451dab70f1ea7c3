"""Rows from the hub, a mirror, a folder or made here; split by hash, encoded once and shared."""
