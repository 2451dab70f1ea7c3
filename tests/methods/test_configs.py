"""Every conf/method/*.yaml is a strict spec with its source, and why_not answers from cards alone."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from harness.ledger.identity import canonical
from methods.schedule.link_ends import count_ends, ends_at, link_length
from methods.spec import BaSparse, Chain, Columns, LowRank
from methods.why_not import why_not

NAMES = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "method").glob("*.yaml"))
ELEVEN = ("full", "lora", "lora_plus", "asym", "cola", "rac", "cla", "r_cla", "c3la", "r_c3la", "paca")
TARGETS = {"q": "attention.query", "k": "attention.key", "v": "attention.value", "down": "output"}


@pytest.mark.parametrize("name", NAMES)
def test_a_config_names_itself_its_source_and_its_formula(lab, name):
    spec = lab.spec(name)
    assert spec.name == name
    assert {"label", "source", "formula"} <= set(spec.about) <= {"label", "source", "formula", "same_function_as"}
    assert spec.about.get("same_function_as", "lora") in NAMES
    assert all(len(text) > 2 for text in spec.about.values())


def test_the_eleven_and_the_side_variants_are_there():
    side = {
        "head",
        "asym_b",
        "rac_b",
        "dpaca",
        "cpaca",
        "dcpaca",
        "ba_sparse_lora",
        "ba_sparse_final",
        "ba_sparse_fix_mask",
    }
    assert set(ELEVEN) | side | {"peft", "dora", "rslora", "vera", "adalora", "oft", "ia3", "ln_tuning"} <= set(NAMES)


def test_no_two_methods_are_one_setting(lab):
    """Their names apart, all differ: a copy under a second name would be run twice."""
    seen = [canonical(replace(lab.spec(name), name="")) for name in NAMES]
    assert len(set(seen)) == len(NAMES)


@pytest.mark.parametrize("name", [n for n in ELEVEN if n != "full"])
def test_the_adapters_of_the_study_share_rank_scale_and_targets(lab, name):
    from omegaconf import OmegaConf  # the file as it is, not at the tests' rank

    spec = lab.spec(name, rank=16, alpha=32.0)
    file = Path(__file__).parents[2] / "conf" / "method" / f"{name}.yaml"
    own = OmegaConf.to_container(OmegaConf.load(file)).get("update", {})
    assert own.get("rank", 16) == 16 and own.get("alpha", 32.0) == 32.0
    assert spec.targets == ("q", "v")
    assert spec.rates.b_over_a == (16.0 if name == "lora_plus" else 1.0)
    assert isinstance(spec.schedule, Chain) == (name in ("cola", "rac", "c3la", "r_c3la"))


def test_rac_and_asym_train_b_alone_and_cola_both(lab):
    for name, train_a in (("lora", True), ("lora_plus", True), ("cola", True), ("asym", False), ("rac", False)):
        update = lab.spec(name).update
        assert isinstance(update, LowRank) and (update.train_a, update.train_b) == (train_a, True)


@pytest.mark.parametrize("name", NAMES)
def test_every_method_can_act_on_a_model_that_has_its_targets(lab, name):
    targets = TARGETS | {"o": "attention.output", "up": "intermediate"}
    assert why_not(lab.spec(name), targets=targets, smallest=192, head=("classifier",), depth=12) is None


@pytest.mark.parametrize(
    "name, changes, facts, sentence",
    [
        (
            "lora",
            {"targets": ["q", "gate"]},
            {},
            "lora acts on gate, which the model does not have; it has q, k, v, down.",
        ),
        ("cla", {"rank": 256}, {"smallest": 192}, "cla has rank 256, above the smallest width 192 of its targets."),
        ("ba_sparse_lora", {"targets": []}, {}, "ba_sparse_lora names no target; the model has q, k, v, down."),
        ("lora", {"targets": ["q", "q"]}, {}, "lora names the same weight twice: q, q."),
        (
            "peft",
            {"type": "CPT"},
            {},
            "peft: the peft library's CPT cannot be used here: it learns from examples "
            "that are written into its options, by a loss of its own.",
        ),
        ("head", {}, {"head": ()}, "head trains the head alone, and the model's head is tied to its embeddings."),
    ],
)
def test_why_not_says_why(lab, name, changes, facts, sentence):
    assert why_not(lab.spec(name, **changes), targets=TARGETS, **facts) == sentence


def test_a_chain_of_something_that_cannot_be_merged_is_refused(lab):
    chain = Chain("chain", 3, None, None)
    assert "nothing to merge" in (why_not(replace(lab.spec("full"), schedule=chain), targets=TARGETS) or "")


@pytest.mark.parametrize(
    "chain, total, per_epoch, expected",
    [
        (Chain("chain", 3, None, None), 10, 5, (3, 7)),  # round(10/3), round(20/3)
        (Chain("chain", 1, None, None), 10, 5, ()),
        (Chain("chain", 7, None, None), 2000, 100, (286, 571, 857, 1143, 1429, 1714)),
        (Chain("chain", None, 3.0, None), 2000, 100, tuple(range(300, 2000, 300))),  # 20 epochs, every 3: 7 links
        (Chain("chain", None, 5.0, None), 3000, 100, (500, 1000, 1500, 2000, 2500)),  # none at the end
        (Chain("chain", None, 0.5, None), 9, 3, (2, 3, 4, 6, 8)),  # 1.5 steps: halves go to the even number
        (Chain("chain", None, None, 4), 10, 5, (4, 8)),
        (Chain("chain", None, None, 1), 4, 2, (1, 2, 3)),
    ],
)
def test_links_end_where_the_study_says(chain, total, per_epoch, expected):
    length = link_length(chain, total, per_epoch)
    assert tuple(step for step in range(total + 2) if ends_at(length, step, total)) == expected
    assert count_ends(length, total) == len(expected)


@pytest.mark.parametrize("total", [7, 13, 60, 2000])
@pytest.mark.parametrize("links", [1, 2, 3, 6, 7])
def test_k_links_end_at_the_rounded_parts(links, total):
    length = link_length(Chain("chain", links, None, None), total, 5)
    ends = [step for step in range(total + 1) if ends_at(length, step, total)]
    assert ends == [round(Fraction(j * total, links)) for j in range(1, links)]
    assert count_ends(length, total) == links - 1


def test_the_parts_of_a_spec_are_told_apart_by_kind(lab):
    kinds = {"c3la": Columns, "rac_b": LowRank, "ba_sparse_final": BaSparse}
    assert all(type(lab.spec(name).update) is kind for name, kind in kinds.items())
