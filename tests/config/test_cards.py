"""A config read from its file is what Hydra composes, and a broken one is a sentence."""

import pytest

from harness.config.cards import card
from harness.config.compose import compose_part
from harness.config.overrides import assign
from harness.ledger.errors import SpecError


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("method", "r_c3la"),
        ("method", "squeeze_cont"),
        ("recipe", "squeeze_gemma_adafactor"),
        ("dataset", "trec50"),
        ("sweep", "quickstart"),
        ("cluster", "slurm"),
    ],
)
def test_a_card_is_what_hydra_composes(group, name):
    assert card(group, name) == compose_part(group, [assign(group, name)])


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes a method of one's own."""
    (tmp_path / "method").mkdir()
    monkeypatch.setenv("PEFTLAB_CONF", str(tmp_path))
    return lambda name, text: (tmp_path / "method" / f"{name}.yaml").write_text(text)


@pytest.mark.filterwarnings("ignore:In 'method/mine'")  # Hydra's, of a list without _self_
@pytest.mark.parametrize("defaults", ["[lora]", "[_self_, lora]", "[/method/lora, _self_]"])
def test_a_card_of_ones_own_starts_from_others_as_hydra_lets_it(own, defaults):
    own("mine", f"defaults: {defaults}\nname: mine\nupdate: {{rank: 3}}\n")
    assert card("method", "mine") == compose_part("method", [assign("method", "mine")])


def test_a_card_of_ones_own_comes_before_the_projects(own):
    own("cla", "name: cla\n")
    assert card("method", "cla") == {"name": "cla"}


def test_a_card_that_is_not_there_is_a_sentence_with_the_nearest():
    with pytest.raises(SpecError, match=r"method: unknown choice 'clla'\. Did you mean 'cla'\?"):
        card("method", "clla")
