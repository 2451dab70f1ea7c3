"""One run and many: plan, run, measure, record. Kept empty, so that ids, status and tables need no torch."""
