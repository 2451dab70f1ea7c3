"""The answer in words says what the records support, and no more."""

from dataclasses import replace

import pytest

import analysis
from analysis.load import load
from analysis.times import times_comparable
from analysis.verdict import verdicts
from harness.ledger.errors import RecordError
from harness.ledger.quantity import Measured
from harness.ledger.record import Record

SCORES = {"full": 0.80, "head": 0.50, "lora": 0.90, "cla": 0.897}
WOBBLE = {"full": 0, "head": 0, "lora": (1, -1, 0, 1, -1), "cla": (-1, 1, 0, -1, 1)}


def score(method: str, _dataset: str, seed: int) -> float:
    noise = WOBBLE[method]
    return SCORES[method] + 0.01 * seed + 0.004 * (noise[seed] if isinstance(noise, tuple) else noise)


def timed(record: Record, factor: float) -> Record:
    """The record with `factor` times the training time; its wall clock follows."""
    train, wall = (q.value for q in (record.seconds["train"], record.seconds["wall"]) if isinstance(q, Measured))
    longer = {"train": Measured(train * factor, "s", 1), "wall": Measured(wall + train * (factor - 1), "s", 1)}
    return replace(record, seconds={**record.seconds, **longer})


def jittered(record: Record) -> Record:
    """Times that differ by a percent from seed to seed, in another way for each method."""
    return timed(record, 1 + 0.01 * ((record.spec["seed"] * ord(record.spec["method"]["name"][0])) % 5))


def test_the_best_mean_what_is_as_good_and_the_quickest_of_them(written) -> None:
    """cLA is .3 points behind, give or take 1.1: within two points, and it trains in less time in every seed."""
    about = {"title": "t", "control": "lora", "margin": 2.0}
    frame = load("tiny", written(score=score, seeds=(0, 1, 2, 3, 4), about=about, edit=jittered))
    found = verdicts(frame)[0]
    assert (found.best, found.alike, found.as_good, found.quickest) == ("LoRA", ("cLA",), ("cLA",), "cLA")
    text = str(found)
    assert text.startswith("Minilm / TREC50: LoRA has the best mean: accuracy 92.00 [90.40, 93.60] % ")
    assert "Worse on this test set (paired t over seeds, Holm over 6 pairs, p < .05): Full fine-tuning and Head" in text
    assert "the quickest of them (paired t of times, p < .05) is cLA: accuracy 91.70 [89.30, 94.10] % " in text
    assert "no: Full fine-tuning and Head only" in text


def test_a_failed_test_makes_nothing_as_good(written) -> None:
    """Not told apart, but 1.1 points either way exceed the margin of .5: cLA is not recommended for being quick."""
    about = {"title": "t", "control": "lora", "margin": 0.5}
    found = verdicts(load("tiny", written(score=score, seeds=(0, 1, 2, 3, 4), about=about)))[0]
    assert (found.alike, found.as_good, found.quickest) == (("cLA",), (), None)
    assert "quickest" not in str(found)


def test_a_difference_in_time_that_seeds_do_not_support_is_not_claimed(written) -> None:
    def noisy(record: Record) -> Record:
        factor = 1 + 0.5 * ((record.spec["seed"] * 7 + len(record.spec["method"]["name"])) % 3)
        return timed(record, factor)

    about = {"title": "t", "control": "lora", "margin": 2.0}
    found = verdicts(load("tiny", written(score=score, seeds=(0, 1, 2, 3, 4), about=about, edit=noisy)))[0]
    assert (found.as_good, found.quickest) == (("cLA",), None)
    assert "none is called the quickest: the seeds do not support a difference in time" in str(found)


def test_times_that_are_marked_are_not_compared(written) -> None:
    about = {"title": "t", "control": "lora", "margin": 2.0}
    frame = load("tiny", written(score=score, seeds=(0, 1, 2, 3, 4), about=about, edit=jittered))
    marked = frame.reordered(frame.rows.assign(**{"contention.marked": (frame.rows["seed"] == 1).astype(float)}))
    found = verdicts(marked)[0]
    assert found.quickest is None
    assert "times are not comparable (2 of 10 runs shared their processor" in str(found)
    assert times_comparable(frame.rows) == (True, "")


def test_one_method_alone_is_compared_with_nothing(written) -> None:
    found = verdicts(load("tiny", written(methods=("lora",))))[0]
    assert found.sentences[0].startswith("LoRA alone has a score, and is compared with nothing")
    assert "orse" not in str(found)


def test_methods_without_a_score_are_not_called_worse(written) -> None:
    gone = tuple((m, "minilm", "trec50", s) for m in ("full", "head", "cla") for s in range(3))
    found = verdicts(load("tiny", written(fail=gone)))[0]
    assert "orse" not in str(found)
    assert "Not all runs have a score: Full fine-tuning (failed), Head only (failed) and cLA (failed)" in str(found)


def test_who_has_too_few_seeds_in_common_is_not_tested(written) -> None:
    lost = tuple(("cla", "minilm", "trec50", s) for s in (0, 1, 2))
    found = verdicts(load("tiny", written(score=score, seeds=(0, 1, 2, 3, 4), fail=lost)))[0]
    assert "Not tested, with fewer than three seeds in common: cLA." in str(found)


def test_an_exact_tie_is_a_tie(written) -> None:
    counts = {"lora": [431, 433, 436], "cla": [436, 431, 433], "full": [300, 300, 301], "head": [200, 201, 200]}
    found = verdicts(load("tiny", written(score=lambda m, _d, s: counts[m][s] / 500)))[0]
    assert "cLA has the very same mean." in found.sentences


def test_a_collapsed_seed_is_named(written) -> None:
    runs = written(score=lambda m, d, s: 0.3 if (m, s) == ("cla", 1) else score(m, d, s), seeds=(0, 1, 2, 3, 4))
    found = verdicts(load("tiny", runs))[0]
    assert any(
        s.startswith("Seed 1 of cLA is far off its others: its mean is no typical score") for s in found.sentences
    )
    assert "far off" not in str(verdicts(load("tiny", written(score=score, seeds=(0, 1, 2, 3, 4))))[0])


def test_two_seeds_tell_nothing_apart(written) -> None:
    said = str(verdicts(load("tiny", written(score=score, seeds=(0, 1))))[0])
    assert "2 seeds: too few to tell methods apart" in said
    assert "As good as" not in said


def test_lower_perplexity_has_the_best_mean(written) -> None:
    perplexity = {"full": 3.0, "head": 5.0, "lora": 4.0, "cla": 4.1}
    runs = written(blocks=(("gpt2", "e2e"),), score=lambda m, _d, s: perplexity[m] + 0.001 * (ord(m[0]) * (s + 1) % 7))
    (found,) = verdicts(load("tiny", runs))
    assert found.best == "Full fine-tuning"
    assert "p < .05): Head only, LoRA and cLA." in str(found)


def test_what_has_no_score_is_named_with_its_state(written) -> None:
    runs = written(
        fail=tuple(("full", "minilm", "mrpc", seed) for seed in range(3)),
        missing=(("cla", "minilm", "mrpc", 1),),
        skipped=(("head", "minilm", "mrpc", "why not"),),
    )
    found = verdicts(load("tiny", runs, partial=True))[1]
    assert found.best == "LoRA"
    lost = "Full fine-tuning (failed), Head only (skipped) and cLA (1 of 3 missing)"
    assert f"Not all runs have a score: {lost}." in found.sentences


def test_a_block_without_a_finished_run_says_so(written) -> None:
    gone = tuple((m, "minilm", "mrpc", s) for m in ("full", "head", "lora", "cla") for s in range(3))
    found = verdicts(load("tiny", written(fail=gone)))[1]
    assert (found.best, found.sentences) == (None, ("No run has finished.",))


def test_a_name_that_is_not_there_is_one_sentence(written) -> None:
    frame = load("tiny", written())
    with pytest.raises(RecordError, match=r"no block 'Minilm / MRP'\. Did you mean 'Minilm / MRPC'"):
        analysis.tradeoff(frame, "Minilm / MRP")
    with pytest.raises(RecordError, match="no column 'train'"):
        analysis.score_against(frame, "train")
    assert repr(frame) == "<Frame tiny: 24 done; 4 methods, 2 blocks>"
