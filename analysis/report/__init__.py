"""The report of a sweep: one self-contained HTML page, and its tables and pictures as files beside it."""
