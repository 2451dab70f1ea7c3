"""What this process has done before: it pays once for imports, prepared data and compiled kernels, and keeps memory."""

_begun = 0
_paid: set[str] = set()


def begin_run(*parts: str) -> bool:
    """Count a run of this process; True when it is the first here with one of `parts` (model, dataset, library)."""
    global _begun
    _begun += 1
    first = not _paid.issuperset(parts)
    _paid.update(parts)
    return first


def why_shared() -> str | None:
    """Why the resident set of this process is not that of its present run alone; None when it has done no other."""
    if _begun <= 1:
        return None
    return (
        "the worker had done another run before, whose memory it keeps; the ledger compares methods, and "
        "isolate=true measures each run in a process of its own"
    )
