"""Runs that two processes do together, against the same runs by one: scores, records, checkpoints."""

import time

import pytest

from tests.training.together import Ask, Pair, do

DIGITS = ("model=vit_micro", "model.size=tiny", "dataset=digits")
TEXTS = ("model=minilm", "model.size=tiny", "dataset=stdlib_docs")  # with dropout
# A larger eps: without it AdamW makes a whole step of a gradient that is nothing but rounding.
SHORT = (
    "recipe.max_steps=4",
    "recipe.evaluations=1",
    "recipe.batch_size=7",
    "recipe.eval_batch_size=128",
    "recipe.eps=1e-5",
)
FAMILIES = {  # `benchmarks/together.py` has all of them, in both layouts
    "a chain of factors": ("ddp", "method=cola", "method.schedule.links=2"),
    "a chain of columns": ("fsdp", "method=c3la", "method.schedule.links=2"),
    "squeeze": ("fsdp", "method=squeeze_in", "method.update.rank=8", "method.schedule.ranks=[8,4]"),
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory, peftlab_cache):
    words = (*SHORT, *DIGITS, "method=head", f"cache={peftlab_cache}")
    do(Ask(tmp_path_factory.mktemp("before"), words))  # imports everything, before the processes are forked
    pair = Pair(tmp_path_factory.mktemp("pair"))
    yield pair
    pair.end()


@pytest.fixture
def ask(tmp_path, peftlab_cache):
    def of(*words, store="together", **how):
        return Ask(tmp_path / store, (*SHORT, *words, f"cache={peftlab_cache}"), **how)

    return of


def assert_same(together, alone):
    """To float error: every score of every split, and the losses of training."""
    assert together.status == alone.status == "done"
    assert together.id == alone.id
    for split, scores in alone.scores.items():
        for name, score in scores.items():
            assert together.scores[split][name].value == pytest.approx(score.value, abs=1e-5), (split, name)
    for mine, theirs in zip(together.curve, alone.curve, strict=True):
        assert mine.train_loss == pytest.approx(theirs.train_loss, abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_two_processes_score_as_one(family, pair, ask):
    kind, *words = FAMILIES[family]
    alone = do(ask(*DIGITS, *words, store="alone"))
    assert_same(pair.do(ask(*DIGITS, *words, kind=kind)), alone)


def test_dropout_masks_are_those_of_one_process_for_uneven_parts_and_rows_that_are_fewer_than_processes(pair, ask):
    words = (*TEXTS, "method=lora", "recipe.batch_size=3", "recipe.accumulate=2", "recipe.max_steps=2")
    alone = do(ask(*words, store="alone"))
    assert_same(pair.do(ask(*words)), alone)
    few = (*DIGITS, "method=full", "recipe.batch_size=1", "recipe.max_steps=2")
    alone = do(ask(*few, store="alone"))
    assert_same(pair.do(ask(*few, kind="fsdp")), alone)


def test_the_record_names_the_layout_and_one_process_writes(pair, ask):
    words = (*DIGITS, "method=lora")
    alone, together = do(ask(*words, store="alone")), pair.do(asked := ask(*words))
    assert together.provenance["parallel"] == {"kind": "ddp", "processes": 2} and "parallel" not in alone.provenance
    assert together.provenance["fingerprint"] != alone.provenance["fingerprint"]
    assert together.work["flops_per_step"] == alone.work["flops_per_step"]
    assert together.ledger["gradients"] == alone.ledger["gradients"]
    assert len(together.ranks) == 2 and alone.ranks == ()
    peaks = [rank["memory"]["train_peak_rss"] for rank in together.ranks]
    assert all("value" not in peak or peak["value"] <= together.memory["train_peak_rss"].value for peak in peaks)
    trained = [rank["seconds"]["train"]["value"] for rank in together.ranks]
    assert together.seconds["train"].value == max(trained)
    folder = asked.store / together.id
    assert {path.name for path in folder.iterdir()} == {
        "spec.json", "events.jsonl", "predictions.parquet", "adapter", "outcome.0.json",
    }  # fmt: skip
    events = (folder / "events.jsonl").read_text()
    assert events.count('"event": "start"') == events.count('"event": "end"') == 1


def test_a_run_goes_on_with_another_number_of_processes(pair, ask):
    words, kind = (*DIGITS, "method=full"), "fsdp"
    straight = do(ask(*words, store="straight"))
    assert do(ask(*words, store="apart", steps=2)) is None
    resumed = pair.do(ask(*words, store="apart", kind=kind))
    assert resumed.attempts == 2
    assert_same(resumed, straight)
    assert pair.do(ask(*words, store="joined", kind=kind, steps=2)) is None
    resumed = do(ask(*words, store="joined"))
    assert resumed.attempts == 2
    assert_same(resumed, straight)


def test_a_process_that_is_killed_ends_the_run_as_trouble_of_the_machine(ask, tmp_path):
    pair = Pair(tmp_path)
    endless = ask(*DIGITS, "method=lora", "recipe.max_steps=100000", "recipe.epochs=100000")
    pair.ask(endless)
    while not list(endless.store.glob("*/events.jsonl")) or not any(_started(endless.store)):
        time.sleep(0.02)
    pair.processes[1].kill()
    rank, run, why = pair.answer()
    assert (rank, run) == (0, None) and str(why).endswith("NodeError")
    assert not list(endless.store.glob("*/outcome.*"))
    pair.processes[0].kill()


def _started(store):
    return ['"start"' in path.read_text() for path in store.glob("*/events.jsonl")]
