"""What this process has done before, and whether it goes on to more: it pays once for imports, prepared data and
compiled kernels, and keeps memory."""

_begun = 0
_paid: set[str] = set()
_more = False


def begin_run(*parts: str) -> bool:
    """Count a run of this process; True when it is the first here with one of `parts` (model, dataset, library)."""
    global _begun
    _begun += 1
    first = not _paid.issuperset(parts)
    _paid.update(parts)
    return first


def expect_more() -> None:
    """Other runs may follow in this process: what serves them too is worth its memory."""
    global _more
    _more = True


def more_expected() -> bool:
    """Whether other runs may follow in this process."""
    return _more


def why_shared(keeps_base: bool) -> str | None:
    """Why the resident set of this process is not that of its present run alone; None when it is.

    keeps_base: whether it holds a packed base for other runs, beside that of the present one.
    """
    if _begun > 1:
        why = "the worker had done another run before, whose memory it keeps"
    elif keeps_base:
        why = "the worker keeps the packed base for other runs"
    else:
        return None
    return f"{why}; the ledger compares methods, and isolate=true measures each run in a process of its own"
