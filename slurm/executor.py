"""submitit's executor, with sbatch asked as every other command of SLURM's is (`slurm.commands`)."""

import uuid
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import submitit
from submitit.core.utils import DelayedSubmission

from slurm.commands import sbatch
from slurm.submission import THIS_JOB


class Executor(submitit.SlurmExecutor):
    """Submits one batch: an array, or a single job. submitit's own gives sbatch no time limit and one try."""

    def script(self, count: int) -> str:
        """What sbatch is given for so many jobs."""
        if count > 1:
            self.parameters["map_count"] = count
        return self._make_submission_file_text(self._submitit_command_str, uuid.uuid4().hex)

    def _internal_process_submissions(self, delayed_submissions: Sequence[DelayedSubmission]) -> list[Any]:
        """All files are written first, under names without the number that sbatch gives: a submitter that is killed
        after sbatch leaves an array that works (submitit's own renames its files then, and jobs wait for that)."""
        folder, count = Path(self.folder), len(delayed_submissions)
        folder.mkdir(parents=True, exist_ok=True)
        for index, each in enumerate(delayed_submissions):
            each.set_timeout(self.parameters["time"], self.max_num_timeout)
            each.dump(folder / _task(str(index)))
        script = folder / "submission.sh"
        script.write_text(self.script(count))
        number = sbatch(script, self.parameters["job_name"])
        names = [number] if count == 1 else [f"{number}_{index}" for index in range(count)]
        return [submitit.SlurmJob(folder=folder, job_id=name, tasks=[0]) for name in names]


def find_task(folder: Path) -> str:
    """A line for the start of a job's script: its task gets the name that submitit looks for. A job that was queued
    again has written its own."""
    wanted = f'{quote(str(folder))}/"{THIS_JOB}_submitted.pkl"'
    return f'[ -e {wanted} ] || ln -s "{_task("${SLURM_ARRAY_TASK_ID:-0}")}" {wanted}'


def _task(index: str) -> str:
    return f"task_{index}.pkl"
