"""Jobs as their nodes saw them: each writes down where it began, whether it came to work, and how it ended.

One file for each job, `jobs/<name>/begun_<job>`, written by the job's shell before and after everything else, so that
a job that dies in its set-up, before any line of Python, is known with its node.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from harness.execution.holder import this_process
from harness.execution.jobs import LostJob
from slurm.nodes import DAY
from slurm.submission import THIS_JOB, folder_of, submissions

QUICK_SECONDS = 120.0  # a job that ends so soon without having done a run died of its node, or of its set-up
STOPPED_CODES = frozenset({0, 130, 137, 138, 140, 143})  # done, or ended by a signal that SLURM sends
WORKED, WRONG_CODE = "worked", "code"
log = logging.getLogger("peftlab.slurm")


@dataclass(frozen=True)
class Begun:
    """One job that has ended by itself."""

    job: str
    node: str
    when: float  # seconds since the epoch, of its end
    ids: tuple[str, ...]
    words: tuple[str, ...]  # WORKED, WRONG_CODE
    code: int
    seconds: float
    folder: Path


def shell_lines(runs: Path, name: str) -> list[str]:
    """For the start of a job's script: the file is begun, and ended when the shell ends, however the set-up ends it."""
    return [
        f'peftlab_begun={quote(str(folder_of(runs, name)))}/begun_"{THIS_JOB}"',
        'echo "node ${SLURMD_NODENAME:-$HOSTNAME}" > "$peftlab_begun"',
        'trap \'echo "ended $? $SECONDS" >> "$peftlab_begun"\' EXIT',
    ]


def note(runs: Path, name: str, word: str) -> None:
    """Add a word to this job's file, where there is one."""
    file = folder_of(runs, name) / f"begun_{this_process().job}"
    if file.is_file():
        with file.open("a") as lines:
            lines.write(word + "\n")


def lost(runs: Path) -> tuple[LostJob, ...]:
    """Jobs that ended before they did any run, oldest first, with the last thing they said."""
    jobs = [each for each in _ended(runs) if WORKED not in each.words and each.code not in STOPPED_CODES]
    return tuple(LostJob(each.job, each.node, each.ids, _last_words(each), _logs(each)) for each in jobs)


def black_holes(runs: Path, after: int, now: float) -> Mapping[str, str]:
    """Node -> why it is excluded: `after` jobs with as many runs ended there within seconds, and none worked since.

    When that happened on several nodes and no job has come to work on any, the set-up is to blame: none is excluded.
    """
    jobs: dict[str, list[Begun]] = {}
    worked = False
    for each in _ended(runs):
        if now - each.when >= DAY or WRONG_CODE in each.words or each.code in STOPPED_CODES - {0}:
            continue
        if WORKED in each.words or each.code == 0:
            jobs.pop(each.node, None)
            worked = True
        elif each.seconds < QUICK_SECONDS:
            jobs.setdefault(each.node, []).append(each)
    bad = {node: its for node, its in jobs.items() if min(len(its), len({i for job in its for i in job.ids})) >= after}
    if len(bad) > 1 and not worked:
        log.warning("jobs end at once on every node (%s): peftlab logs RUN shows why", ", ".join(sorted(bad)))
        return {}
    return {node: f"{len(its)} jobs ended there within seconds, before they did a run" for node, its in bad.items()}


def _ended(runs: Path) -> list[Begun]:
    """Oldest first."""
    return sorted((begun for begun in _all(runs) if begun), key=lambda begun: begun.when)


def _all(runs: Path) -> Iterator[Begun | None]:
    for submission in submissions(runs):
        folder = folder_of(runs, submission.name)
        for file in folder.glob("begun_*"):
            with suppress(OSError, ValueError, IndexError):  # garbage, or still running
                job = file.name.removeprefix("begun_")
                index = job.partition("_")[2]
                ids = submission.tasks[int(index) if index else 0]
                first, *words, last = file.read_text(errors="replace").splitlines()
                _, code, seconds = last.split()
                yield Begun(
                    job, first.split()[1], file.stat().st_mtime, ids, tuple(words), int(code), float(seconds), folder
                )


def _logs(begun: Begun) -> tuple[Path, ...]:
    files = (begun.folder / f"{begun.job}_0_log.{end}" for end in ("out", "err"))
    return tuple(file for file in files if file.is_file())


def _last_words(begun: Begun) -> str:
    lines = [line for file in _logs(begun) for line in file.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"exit code {begun.code}"
