"""Advice comes from records, respects the budget, and says what it cannot know."""

import json
import shlex
from dataclasses import replace

import pytest

from analysis.advise import advise, everything, limits, sentences
from analysis.deciding import evidence, seeds_to_decide
from harness.cli.arguments import call
from harness.ledger.errors import RecordError, SpecError
from harness.ledger.quantity import Measured, NotMeasured
from harness.ledger.record import Failure, Record


def best(runs, **budget) -> dict[str, str]:
    options = advise(everything(runs), {}, budget.get("gb"), budget.get("hours"))
    return {o.block: o.method for o in options if o.best}


def test_without_a_limit_the_best_score_wins(written) -> None:
    assert set(best(written()).values()) == {"LoRA"}


def test_a_tight_memory_budget_leaves_the_cheaper_method(written) -> None:
    runs = written()  # ledgers: 77, 16, 41 and 35 MB; the resident sets of 600 MB and more are not asked
    assert set(best(runs, gb=0.036).values()) == {"cLA"}
    assert set(best(runs, gb=0.02).values()) == {"Head only"}
    assert best(runs, gb=0.001) == {}


def test_the_largest_run_of_a_cell_decides(written) -> None:
    runs = written()  # LoRA's seeds take 40.1, 40.4 and 40.8 MB
    assert set(best(runs, gb=0.0405).values()) == {"cLA"}


def test_hours_leave_out_what_is_paid_once(written) -> None:
    def first_of_its_worker(record: Record) -> Record:
        first = record.spec["method"]["name"] == "lora" and record.spec["seed"] == 0
        wall = record.seconds["wall"]
        if not first or not isinstance(wall, Measured):
            return record
        once = {"worker_setup": Measured(3600.0, "s"), "setup": NotMeasured("see worker_setup")}
        return replace(record, seconds={**record.seconds, **once, "wall": Measured(wall.value - 2.0, "s")})

    runs = written(edit=first_of_its_worker)  # of training and evaluation cLA takes 24.0 s at most, LoRA 28.1 s
    assert set(best(runs, hours=28.2 / 3600).values()) == {"LoRA"}
    assert set(best(runs, hours=27 / 3600).values()) == {"cLA"}
    (lora, *_) = advise(everything(runs), {}, None, None)
    assert lora.method == "LoRA" and lora.setup_s == 3600.0 and lora.hours == pytest.approx(28.08 / 3600)


def test_times_that_are_marked_give_no_hours(written) -> None:
    def marked(record: Record) -> Record:
        return replace(record, contention={"marked": Measured(1.0, "1", 1)})

    runs = written(edit=marked)
    assert best(runs, hours=100.0) == {}
    assert set(best(runs).values()) == {"LoRA"}
    frame = everything(runs)
    options = advise(frame, {}, None, None)
    assert {o.hours for o in options} == {None}
    assert "Such runs give no hours" in " ".join(limits(frame, options))


def tiny(record: Record) -> Record:
    return replace(record, spec={**record.spec, "model": {**record.spec["model"], "size": "tiny"}})


COMMAND = "run: peftlab sweep method=cla,full,head,lora model=minilm dataset=mrpc recipe=default 'seed=range({})'"


@pytest.mark.parametrize(
    ("changes", "why", "seeds"),
    [
        ({"edit": tiny}, "a tiny model with random weights", 5),
        ({"seeds": (0, 1)}, "fewer than 3 seeds with a score", 3),
        ({"score": lambda method, dataset, seed: 0.25 + 0.01 * (seed - 1)}, "not above chance", 5),
    ],
)
def test_what_is_no_evidence_is_not_advised_and_the_sweep_that_would_be_is_named(written, changes, why, seeds) -> None:
    runs = written(**changes)
    assert best(runs) == {}
    frame = everything(runs)
    (text, *_) = sentences(frame, advise(frame, {"dataset": "mrpc"}, None, None))
    assert "no evidence" in text and why in text
    assert text.endswith(COMMAND.format(seeds))


def test_what_was_not_measured_does_not_fit(written) -> None:
    def no_peak(record: Record) -> Record:
        return replace(
            record, ledger={}, memory={k: v for k, v in record.memory.items() if not isinstance(v, Measured)}
        )

    runs = written(edit=no_peak)
    assert best(runs, gb=100.0) == {}
    assert set(best(runs).values()) == {"LoRA"}


def test_a_method_that_ran_out_of_memory_is_not_advised(written) -> None:
    runs = written(fail=(("lora", "minilm", "mrpc", 1),))
    assert best(runs)["Minilm / MRPC"] == "cLA"


def test_settings_of_one_method_are_not_pooled(written) -> None:
    def two_ranks(record: Record) -> Record:
        spec = record.spec
        if spec["method"]["name"] != "lora" or spec["seed"] != 2:
            return record
        update = {**spec["method"]["update"], "rank": 4}
        return replace(record, spec={**spec, "method": {**spec["method"], "update": update}})

    labels = set(everything(written(edit=two_ranks)).methods)
    assert {"LoRA (update.rank=8)", "LoRA (update.rank=4)"} <= labels


def test_the_limits_of_the_evidence_are_said(written) -> None:
    frame = everything(written(seeds=(0, 1)))
    options = advise(frame, {"dataset": "mrpc"}, None, None)
    said = " ".join(limits(frame, options))
    assert "8 finished runs in 1 blocks" in said
    assert "the exact ledger of a step" in said
    assert "fewer than 3 seeds" in said


def test_an_unknown_model_names_the_known_ones(written) -> None:
    with pytest.raises(RecordError, match="model: minilm"):
        advise(everything(written()), {"model": "llama"}, None, None)


def test_no_record_says_how_to_make_one(tmp_path) -> None:
    with pytest.raises(RecordError, match="peftlab sweep"):
        everything(tmp_path)


def test_the_verb_answers_in_json_and_in_words(written, capsys: pytest.CaptureFixture[str]) -> None:
    runs = str(written())
    assert call("advise", ["--max-gb", "24", "--max-hours", "2", "task=text", "--runs", runs, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {o["method"] for o in found["options"] if o["best"]} == {"LoRA"}
    assert call("advise", ["task=text", "--runs", runs]) == 0
    assert "take this" in capsys.readouterr().out


@pytest.mark.parametrize("limit", ["nan", "-1", "0", "inf", "much"])
def test_a_limit_that_is_none_is_one_sentence(written, limit: str) -> None:
    with pytest.raises(SpecError, match=f"'{limit}' is not a number above 0"):
        call("advise", [f"--max-gb={limit}", "--runs", str(written())])


def test_what_is_not_told_apart_and_quicker_is_named(written) -> None:
    frame = everything(written())
    (said, _) = sentences(frame, advise(frame, {}, None, None))
    assert said.startswith("Minilm / MRPC: LoRA (accuracy 85.17")
    assert "not told apart from it: cLA; none is called the quickest: the seeds do not support" in said


def test_survivors_are_called_survivors(written) -> None:
    def diverged(record: Record) -> Record:
        gone = record.spec["method"]["name"] == "lora" and record.spec["seed"] == 2
        failure = Failure("diverged", "train", 9, "loss is nan")
        return replace(record, status="failed", failure=failure, scores={}, curve=()) if gone else record

    frame = everything(written(edit=diverged))
    options = advise(frame, {"dataset": "mrpc"}, None, None)
    assert "LoRA (Minilm / MRPC) 1 of 3" in " ".join(limits(frame, options))


def test_an_unknown_word_is_one_sentence(written) -> None:
    with pytest.raises(SpecError, match="Did you mean 'model'"):
        call("advise", ["modle=minilm", "--runs", str(written())])


def close(method: str, dataset: str, seed: int) -> float:
    """LoRA and cLA differ by 1, 3 and 2 points in turn, and the others lie far below."""
    gap = {0: 0.01, 1: 0.03, 2: 0.02}[seed]
    return {"lora": 0.90, "cla": 0.90 - gap}.get(method, 0.5 + 0.001 * seed)


def test_the_evidence_names_rank_seeds_tests_and_the_cheaper_of_two_that_are_alike(written) -> None:
    frame = everything(written(score=close))
    (text, _) = evidence(frame, advise(frame, {}, None, None))
    assert "rank 8" in text and "3 runs (seeds 0, 1 and 2)" in text
    assert "Holm over 6 pairs: cLA p = " in text and "The least memory of them: cLA, 35" in text


def test_the_seeds_to_decide_are_those_that_a_power_analysis_gives(written) -> None:
    frame = everything(written(score=close))  # mean 2, SD 1: simulated power 75.6 % of 4, 90.9 % of 5
    assert seeds_to_decide(frame, "Minilm / MRPC", "LoRA", ("cLA",)) == 5


def test_the_sweep_that_would_decide_is_one_that_plan_accepts(written, capsys: pytest.CaptureFixture[str]) -> None:
    frame = everything(written(score=close, blocks=(("minilm", "stdlib_docs"),)))
    (text,) = evidence(frame, advise(frame, {}, None, None))
    (_, command) = text.split("peftlab sweep ")
    assert command.startswith("method=cla,lora model=minilm dataset=stdlib_docs") or "method=lora,cla" in command
    assert call("plan", shlex.split(command)) == 0
    assert "10" in capsys.readouterr().out


def test_without_a_record_of_both_the_nearest_and_the_published_are_named_as_such(written, capsys) -> None:
    runs = str(written())
    assert call("advise", ["model=roberta_large", "dataset=mrpc", "--runs", runs]) == 0
    none, nearest, printed, sweep = capsys.readouterr().out.splitlines()
    assert none.startswith("No record is of model=roberta_large dataset=mrpc")
    assert nearest.startswith("Nearest records, the same dataset with another model: Minilm / MRPC: LoRA")
    assert "arXiv:2606.13767" in printed and "no test tells them apart" in printed and "LoRA " in printed
    assert "peftlab sweep method=full,head,lora,cla model=roberta_large dataset=mrpc 'seed=range(3)'" in sweep


def test_an_empty_store_answers_in_json_too(tmp_path, capsys) -> None:
    assert call("advise", ["model=minilm", "dataset=stdlib_docs", "--runs", str(tmp_path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["options"] == [] and "No record has that model" in answer["limits"][1]


def test_untried_methods_are_estimated_under_a_budget_and_called_so(
    written, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = str(written(methods=("head", "lora"), blocks=(("minilm", "stdlib_docs"),)))
    assert call("advise", ["--max-gb", "0.5", "--runs", runs, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {o["method"] for o in answer["options"]} == {"Head only", "LoRA"}  # what was measured, as before
    untried = {each["method"]: each for each in answer["untried"]}
    assert set(untried) == {"full", "cla"}
    assert untried["cla"]["fits"] and not untried["full"]["fits"]
    assert untried["cla"]["estimated_gb"] < 0.5 < untried["full"]["estimated_gb"]
    assert call("advise", ["--max-gb", "0.5", "--runs", runs]) == 0
    said = capsys.readouterr().out
    assert "untried, by estimate and not measured: full (estimated" in said
    assert (
        ") does not fit; cla (estimated" in said
        and "Estimates are those of `peftlab plan`, and say nothing of the score." in said
    )


def test_without_a_budget_nothing_is_estimated(written, capsys: pytest.CaptureFixture[str]) -> None:
    runs = str(written(methods=("head", "lora"), blocks=(("minilm", "stdlib_docs"),)))
    assert call("advise", ["--runs", runs]) == 0
    assert "estimate" not in capsys.readouterr().out


def test_hours_that_nothing_is_known_of_are_said_to_be_unknown(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["model=minilm", "dataset=stdlib_docs", "method=cla", "--max-hours", "1", "--runs", str(tmp_path)]
    assert call("advise", [*words, "--json"]) == 0
    (cla,) = json.loads(capsys.readouterr().out)["untried"]
    assert cla["estimated_gb"] > 0 and cla["estimated_hours"] is None and cla["fits"] is None
    assert call("advise", words) == 0
    assert "hours not known: no record yet" in capsys.readouterr().out.splitlines()[-1]


def test_a_card_that_is_not_here_gives_no_estimate(written, capsys: pytest.CaptureFixture[str]) -> None:
    runs = str(written(methods=("head", "lora"), blocks=(("minilm", "nobodys_data"),)))
    assert call("advise", ["--max-gb", "24", "--runs", runs, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["untried"] == []
