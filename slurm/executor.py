"""submitit's executor, with sbatch asked as every other command of SLURM's is (`slurm.commands`)."""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import DelayedSubmission

from slurm.commands import sbatch


class Executor(submitit.SlurmExecutor):
    """Submits one batch: an array, or a single job. submitit's own gives sbatch no time limit and one try."""

    def script(self, count: int) -> str:
        """What sbatch is given for so many jobs."""
        if count > 1:
            self.parameters["map_count"] = count
        return self._make_submission_file_text(self._submitit_command_str, uuid.uuid4().hex)

    def _internal_process_submissions(self, delayed_submissions: Sequence[DelayedSubmission]) -> list[Any]:
        """What submitit does with them, its files and their names included."""
        folder, count = Path(self.folder), len(delayed_submissions)
        folder.mkdir(parents=True, exist_ok=True)
        pickles = [folder / f"{uuid.uuid4().hex}.pkl" for _ in delayed_submissions]
        for each, path in zip(delayed_submissions, pickles, strict=True):
            each.set_timeout(self.parameters["time"], self.max_num_timeout)
            each.dump(path)
        script = folder / f".submission_file_{uuid.uuid4().hex}.sh"
        script.write_text(self.script(count))
        number = sbatch(script, self.parameters["job_name"])
        names = [number] if count == 1 else [f"{number}_{index}" for index in range(count)]
        jobs = [submitit.SlurmJob(folder=folder, job_id=name, tasks=[0]) for name in names]
        for job, path in zip(jobs, pickles, strict=True):
            job.paths.move_temporary_file(path, "submitted_pickle")
        submitit.SlurmJob(folder=folder, job_id=number, tasks=[0]).paths.move_temporary_file(script, "submission_file")
        return jobs
