"""A method that learns beside its source: of another task, on the same weights of the same model."""

import pytest

from harness.config.resolve import Resolver
from harness.ledger.errors import PlanError
from harness.planning.plan import plan_one, read_request

WORDS = ("method=lora_orthogonal", "model=vit_micro", "dataset=digits_parity", "recipe=quick_image")


def test_its_source_may_be_of_another_task_and_rank():
    planned = plan_one(
        read_request([*WORDS, "source.method=lora", "source.dataset=digits", "source.method.update.rank=4"]), Resolver()
    )
    assert planned.spec["dataset"]["name"] == "digits_parity" and planned.spec["method"]["update"]["orthogonal"] == 0.5
    assert (planned.spec["source"]["dataset"]["name"], planned.spec["source"]["method"]["name"]) == ("digits", "lora")


def test_a_third_task_keeps_apart_from_both_before_it():
    words = ["source.method=lora_orthogonal", "source.dataset=digits", "source.source.method=lora"]
    planned = plan_one(read_request([*WORDS, *words]), Resolver())
    assert planned.spec["source"]["source"]["method"]["name"] == "lora"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "starts from a trained run; say which, as in source.method=lora"),
        (("source.method=lora", "source.method.targets=[q]"), "both need the same model and targets"),
        (("source.method=lora", "source.model=minilm", "source.dataset=stdlib_docs"), "the same model and targets"),
        (("source.method=cola",), "cola has another update"),
        (("source.method=sora",), "sora has another update"),
    ],
)
def test_what_it_cannot_keep_apart_from_is_one_sentence(words, sentence):
    with pytest.raises(PlanError, match=sentence):
        plan_one(read_request([*WORDS, *words]), Resolver())
