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


@pytest.mark.slurm
@pytest.mark.slow
def test_on_a_real_slurm_trials_are_jobs_of_their_own_and_the_study_is_found_again(
    site, tmp_path, peftlab_cache, monkeypatch, capsys
):
    monkeypatch.setenv("PEFTLAB_CONF", str(write_fruit(tmp_path)))
    card = ("cluster=slurm", "cluster.cpus=1", "cluster.memory_gb=[4]", "cluster.run_minutes=10")
    words = ["search", *WORDS, *card, "search.at_once=2", f"runs={site.store.root}", f"cache={peftlab_cache}", "--json"]
    assert main([*words, "search.trials=2"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [trial["state"] for trial in answer["trials"]] == ["done"] * 2
    jobs = [task for job in submissions(site.store.root) for task in job.tasks]
    assert sorted(jobs) == sorted((trial["id"],) for trial in answer["trials"]), "a job for each, submitted once"
    assert {site.store.status(trial["id"]) for trial in answer["trials"]} == {"done"}
    assert main([*words, "search.trials=2"]) == 0 and json.loads(capsys.readouterr().out) == answer
    assert len(list(submissions(site.store.root))) == 2, "issued again, it submits nothing"
