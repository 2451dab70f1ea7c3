"""Names that become file names: of sweeps, methods, models, datasets, recipes and clusters."""

import re

from harness.ledger.errors import SpecError

_PLAIN = re.compile(r"\w[\w.+-]{0,99}")


def check_plain(name: str, where: str) -> str:
    """The name itself. Raises SpecError for one that could leave its folder, or that cannot be a file's name."""
    if not isinstance(name, str) or not _PLAIN.fullmatch(name):
        raise SpecError(f"{where}: {name!r} cannot be a name; up to 100 letters, digits, '_', '-', '.' and '+' can.")
    return name
