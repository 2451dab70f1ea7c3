"""Mirrors of a run's events. They are never read back for a table, and never stop a run."""
