"""Datasets that are made here and need no hub."""
