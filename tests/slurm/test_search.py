"""`peftlab search cluster=slurm`: trials are jobs, some at once; a record brings the next, a lost job comes again."""

import json
from types import SimpleNamespace

import pytest

from harness.__main__ import main
from harness.config.settings import settings_from
from harness.execution.queue import work
from harness.ledger.plan import read_plan
from harness.ledger.store import Store
from harness.training.run import run_one
from slurm.submission import read_submission, submissions
from tests.cli.test_search import WORDS
from tests.fruit import write_fruit

SQUEUE = 'cat "$(dirname "$0")/queue" 2>/dev/null || true'
SBATCH = """name=$(sed -n 's/^#SBATCH --job-name=//p' "${@: -1}")
echo "$name|12|N/A|PENDING||None" >> "$(dirname "$0")/queue"
echo Submitted batch job 12"""


@pytest.fixture
def search(fake, tmp_path, peftlab_cache, monkeypatch, capsys):
    """(answer, stderr) of a search; `while_waiting` gets the names of the jobs in the queue and says which are left."""
    queue = fake(squeue=SQUEUE, sbatch=SBATCH) / "queue"
    monkeypatch.setenv("PEFTLAB_CONF", str(write_fruit(tmp_path)))

    def answer(*words, while_waiting, code=0):
        def wait(seconds):
            lines = queue.read_text().splitlines()
            left = while_waiting([line.partition("|")[0] for line in lines])
            queue.write_text("".join(f"{line}\n" for line in lines if line.partition("|")[0] in left))

        monkeypatch.setattr("harness.cli.search_trials.time", SimpleNamespace(sleep=wait))
        where = (f"runs={tmp_path / 'runs'}", f"cache={peftlab_cache}", "cluster=slurm", "cluster.run_minutes=1")
        assert main(["search", *WORDS, *where, *words, "--json"]) == code
        said = capsys.readouterr()
        return json.loads(said.out), said.err

    return answer


def do(runs, name):
    """What the job of this name does."""
    job = read_submission(runs, name)
    settings = settings_from(job.settings or {}, job.plan)
    ids = [run_id for task in job.tasks for run_id in task]
    plan = read_plan(runs, job.address)
    assert not work(ids, plan, Store(runs), lambda run, leased: run_one(run, leased, settings), stop=lambda: False)


def test_trials_are_jobs_of_their_own_some_at_once_and_a_lost_one_comes_again(search, tmp_path):
    seen = []

    def while_waiting(jobs):
        """The oldest job ends: the first time, without a word."""
        seen.append(len(jobs))
        if len(seen) > 1:
            do(tmp_path / "runs", jobs[0])
        return jobs[1:]

    answer, said = search("search.trials=3", "search.at_once=2", while_waiting=while_waiting)
    assert [trial["state"] for trial in answer["trials"]] == ["done"] * 3 and "1 submitted as 1 jobs" in said
    assert max(seen) == 2, "never more at once than were asked for"
    tasks = [job.tasks for job in submissions(tmp_path / "runs")]
    lost, *others = [trial["id"] for trial in answer["trials"]]
    assert tasks[:2] == [((lost,),), ((others[0],),)], "a job for each trial"
    assert [run_id for task in tasks for ids in task for run_id in ids].count(lost) == 2
    assert answer["best"]["score"] == max(trial["score"] for trial in answer["trials"])


def test_a_search_whose_jobs_vanish_gives_up_and_says_which_trials_have_no_record(search, tmp_path):
    answer, said = search("search.trials=2", "search.at_once=2", while_waiting=lambda jobs: [], code=1)
    assert [trial["state"] for trial in answer["trials"]] == ["open"] * 2
    assert "2 trials have no record" in said and "peftlab explain RUN says why" in said
    assert len(list(submissions(tmp_path / "runs"))) == 2 + 3
