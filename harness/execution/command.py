"""Ask another program something, and do not wait for it long."""

import subprocess

PATIENCE = 2.0  # seconds for a command to answer


def answer(*command: str) -> str | None:
    """What a command prints; None when it is not there, fails, or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
