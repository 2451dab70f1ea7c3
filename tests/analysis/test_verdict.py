"""The answer in words says what the records support, and no more."""

import pytest

import analysis
from analysis.load import load
from analysis.verdict import verdicts
from harness.ledger.errors import RecordError

SCORES = {"full": 0.80, "head": 0.50, "lora": 0.90, "cla": 0.897}
WOBBLE = {"full": 0, "head": 0, "lora": (1, -1, 0, 1, -1), "cla": (-1, 1, 0, -1, 1)}


def score(method: str, _dataset: str, seed: int) -> float:
    noise = WOBBLE[method]
    return SCORES[method] + 0.01 * seed + 0.004 * (noise[seed] if isinstance(noise, tuple) else noise)


def test_the_best_mean_its_rivals_and_the_quickest_of_them(written) -> None:
    frame = load("tiny", written(score=score, seeds=(0, 1, 2, 3, 4)))
    found = verdicts(frame)[0]
    assert (found.best, found.alike, found.quickest) == ("LoRA", ("cLA",), "cLA")
    said = str(found)
    assert said.startswith("Minilm / TREC50: LoRA has the best mean: accuracy 92.00 ± ")
    assert "5 seeds do not tell it from cLA; the quickest of them is cLA: accuracy 91.70 ± " in said
    assert "no: Full fine-tuning and Head only" in said


def test_two_seeds_tell_nothing_apart(written) -> None:
    said = str(verdicts(load("tiny", written(score=score, seeds=(0, 1))))[0])
    assert "2 seeds: too few to tell methods apart" in said
    assert "As good as" not in said


def test_lower_perplexity_has_the_best_mean(written) -> None:
    perplexity = {"full": 3.0, "head": 5.0, "lora": 4.0, "cla": 4.1}
    runs = written(blocks=(("gpt2", "e2e"),), score=lambda m, _d, s: perplexity[m] + 0.001 * s)
    (found,) = verdicts(load("tiny", runs))
    assert found.best == "Full fine-tuning"
    assert "Every other method is worse" in str(found)


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
