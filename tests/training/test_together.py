"""Runs that two processes do together, against the same runs by one: scores, records, checkpoints."""

import pytest

from tests.training.together import Ask, Pair, do

DIGITS = ("model=vit_micro", "model.size=tiny", "dataset=digits")
TEXTS = ("model=minilm", "model.size=tiny", "dataset=stdlib_docs", "model.layers=1")  # with dropout
# A larger eps: without it AdamW makes a whole step of a gradient that is nothing but rounding.
SHORT = (
    "recipe.max_steps=4",
    "recipe.evaluations=1",
    "recipe.batch_size=7",
    "recipe.eval_batch_size=128",
    "recipe.eps=1e-5",
)
FAMILIES = {
    "low rank": ("method=lora",),
    "columns": ("method=cla",),
    "columns of W": ("method=paca",),
    "a chain of factors": ("method=cola", "method.schedule.links=2"),
    "a chain of columns": ("method=c3la", "method.schedule.links=2"),
    "a mask over W": ("method=ba_sparse_lora",),
    "squeeze": ("method=squeeze_in", "method.update.rank=8", "method.schedule.ranks=[8,4]"),
    "full": ("method=full",),
    "head": ("method=head",),
    "biases": ("method=bitfit",),
    "a layer of its own": ("method=adapter_serial",),
    "peft": ("method=dora",),
    "a penalty": ("method=adalora",),
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
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
    words = (*DIGITS, *FAMILIES[family])
    assert_same(pair.do(ask(*words)), do(ask(*words, store="alone")))
