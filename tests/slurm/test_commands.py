"""SLURM's commands: their environment, their silence, their bad days, and answers that are garbage."""

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from harness.execution.supervisor import signal_name
from harness.ledger.errors import PlanError
from harness.ledger.parse import parse
from harness.ledger.plan import write_plan
from harness.ledger.store import Store
from slurm import commands, submit_remaining
from slurm.arrays import max_array_size, split
from slurm.cluster_spec import SlurmCluster
from slurm.launch import start
from slurm.packing import Pack
from slurm.sandbox import sleepy
from slurm.status import live
from slurm.submission import submissions
from tests.slurm.fake import calls

CARD = Path(__file__).resolve().parents[2] / "conf/cluster/slurm.yaml"


def sweep(runs, plan, **changes):
    cluster = replace(parse(SlurmCluster, yaml.safe_load(CARD.read_text()), "cluster"), run_minutes=30.0, **changes)
    write_plan(runs, plan)
    return start(plan, Store(runs), cluster, None, runner="slurm.sandbox.sleepy:run")


def test_no_command_of_slurms_sees_a_surrounding_job_or_a_profile(fake, tmp_path, monkeypatch):
    foreign = (
        "SBATCH_PARTITION",
        "SQUEUE_FORMAT",
        "SLURM_JOB_ID",
        "SLURMD_NODENAME",
        "SRUN_DEBUG",
        "SUBMITIT_EXECUTOR",
    )
    for name in foreign:
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("SLURM_CONF", "here")
    folder = fake(scancel="true")
    sweep(tmp_path / "runs", sleepy.plan(2), max_pack=1)
    commands.scancel(["12"])
    for name in ("squeue", "sbatch", "scontrol", "scancel"):
        lines = (folder / f"{name}.env").read_text().splitlines()
        assert "SLURM_CONF=here" in lines
        assert not [line for line in lines if line.startswith(foreign)], name


BUSY = "echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2; exit 1"


def test_a_busy_moment_does_not_end_a_submission(fake, tmp_path):
    folder = fake(sbatch=f"if [ $(wc -l < $0.calls) -lt 3 ]; then {BUSY}; fi; echo Submitted batch job 77")
    assert sweep(tmp_path / "runs", sleepy.plan(2), max_pack=1).arrays == ("77",)
    assert calls(folder, "sbatch") == 3


def test_what_reached_slurm_though_sbatch_failed_is_not_submitted_again(fake, tmp_path):
    folder = fake(sbatch=BUSY, squeue='case "$*" in *-n*) echo 55;; esac')
    assert sweep(tmp_path / "runs", sleepy.plan(2)).arrays == ("55",)
    assert calls(folder, "sbatch") == 1


def test_an_sbatch_that_hangs_frees_the_lock_and_keeps_what_may_have_been_submitted(fake, tmp_path, monkeypatch):
    monkeypatch.setattr("slurm.commands.SUBMIT_SECONDS", 0.2)
    folder, runs = fake(sbatch="exec sleep 1000"), tmp_path / "runs"
    with pytest.raises(commands.SlurmSilent, match="did not answer within"):
        sweep(runs, sleepy.plan(2))
    assert calls(folder, "sbatch") == 1 and len(list(submissions(runs))) == 1


def test_after_an_sbatch_that_hung_the_same_command_submits(fake, tmp_path, monkeypatch):
    monkeypatch.setattr("slurm.commands.SUBMIT_SECONDS", 0.2)
    fake(sbatch="exec sleep 1000")
    with pytest.raises(commands.SlurmSilent):
        sweep(tmp_path / "runs", sleepy.plan(2))
    monkeypatch.setattr("slurm.commands.SUBMIT_SECONDS", 60.0)
    fake()
    assert sweep(tmp_path / "runs", sleepy.plan(2)).runs == 2


def test_a_refusal_is_not_tried_again_and_leaves_nothing_behind(fake, tmp_path):
    folder = fake(sbatch="echo 'sbatch: error: invalid partition specified: nowhere' >&2; exit 1")
    with pytest.raises(PlanError, match=r"SLURM refused the submission.*nowhere"):
        sweep(tmp_path / "runs", sleepy.plan(2))
    assert calls(folder, "sbatch") == 1 and not list(submissions(tmp_path / "runs"))


@pytest.mark.parametrize("silent", ["sbatch", "squeue"])
def test_the_chain_under_a_submit_limit_outlives_a_busy_moment(fake, tmp_path, silent, capsys):
    runs, plan = tmp_path / "runs", sleepy.plan(4)
    fake()
    assert sweep(runs, plan, max_pack=1, submit_limit=2).left == 2
    name = next(submissions(runs)).name
    good = "echo Submitted batch job 78" if silent == "sbatch" else "true"
    folder = fake(**{silent: f"if [ $(wc -l < $0.calls) -lt 6 ]; then {BUSY}; fi; {good}"})
    for file in folder.glob("*.calls"):
        file.unlink()
    assert submit_remaining.main([str(runs), name]) == 0
    assert "submitted 2 more runs" in capsys.readouterr().out


LINE = "{name}|12|0|RUNNING|n1|None"
BAD_LINES = (
    "{name}",
    "{name}|12",
    "{name}|12|7|RUNNING|n1|None",
    "peftlab-../..|1|2|3|4|5",
    "{name}|12|²|R|n1|x",
    "\\xff|",
)


def test_a_line_of_the_queue_that_makes_no_sense_is_left_out_alone(fake, tmp_path):
    fake()
    sweep(tmp_path / "runs", sleepy.plan(2), max_pack=1)
    name = next(submissions(tmp_path / "runs")).name
    lines = "\\n".join([BAD_LINES[0], LINE, *BAD_LINES[1:]]).format(name=name)
    fake(squeue=f"printf '{lines}\\n'")
    assert [job.job for job in live(tmp_path / "runs") if job.job.startswith("12_0")] == ["12_0"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"\xff" + raw,
        lambda raw: raw[:100],
        lambda raw: b"[]",
        lambda raw: json.dumps({k: v for k, v in json.loads(raw).items() if k != "runner"}).encode(),
        lambda raw: json.dumps(json.loads(raw) | {"tasks": [7]}).encode(),
        lambda raw: json.dumps(json.loads(raw) | {"cluster": None}).encode(),
    ],
)
def test_a_submission_that_cannot_be_read_is_named_and_left_out(fake, tmp_path, damage, caplog):
    runs = tmp_path / "runs"
    fake()
    sweep(runs, sleepy.plan(2), max_pack=1)
    name = next(submissions(runs)).name
    file = runs / "jobs" / name / "submission.json"
    file.write_bytes(damage(file.read_bytes()))
    fake(squeue=f"echo '{LINE.format(name=name)}'")
    assert live(runs) == () and list(submissions(runs)) == []
    assert str(file) in caplog.text
    assert sweep(runs, sleepy.plan(2)).runs == 2


def test_a_field_that_a_newer_version_wrote_is_passed_over(fake, tmp_path):
    fake()
    sweep(tmp_path / "runs", sleepy.plan(2))
    before = next(submissions(tmp_path / "runs"))
    file = tmp_path / "runs/jobs" / before.name / "submission.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"later": 1}))
    assert list(submissions(tmp_path / "runs")) == [before]


def test_a_cluster_without_arrays_gets_single_jobs(fake):
    fake(scontrol="echo 'MaxArraySize            = 0'")
    assert max_array_size() == 1
    assert [len(group) for group in split([Pack((i,), 4, 1.0, False) for i in "ab"], max_array_size())] == [1, 1]


def test_a_worker_that_a_real_time_signal_ended_is_told_of():
    assert signal_name(40) == "signal 40" and signal_name(signal.SIGKILL) == "SIGKILL"
