"""What is composed is what Hydra makes of it, with configs of one's own beside the project's and without."""

import json

import pytest

from harness.config import compose
from harness.config.compose import compose_part, compose_plain
from harness.config.overrides import assign, expand, parse_words
from harness.ledger.errors import SpecError
from tests import composed


def test_a_config_of_ones_own_hides_the_projects_of_its_name_in_every_group(tmp_path, monkeypatch):
    monkeypatch.setenv("PEFTLAB_CONF", str(tmp_path))
    for group, name in (("cluster", "local"), ("sweep", "quickstart"), ("recipe", "default")):
        plain = {**compose_part(group, [assign(group, name)]), "about": {"label": "my own"}}
        (tmp_path / group).mkdir()
        (tmp_path / group / f"{name}.yaml").write_text(json.dumps(plain))
    (tmp_path / "tracker").mkdir()
    (tmp_path / "tracker" / "wandb.yaml").write_text("# @package _global_\nwandb: {project: my own}\n")
    whole = compose_plain([assign("sweep", "quickstart")])
    assert {whole[group]["about"]["label"] for group in ("cluster", "sweep", "recipe")} == {"my own"}
    assert whole["wandb"] == {"project": "my own"}
    assert whole["method"]["name"] == "lora", "what is not hidden is the project's"


@pytest.mark.parametrize(
    "typed",
    [
        "method=lora method.update.rank=3 method.targets=[query,value]",
        "method=lora method.update.rank=3 method.update.rank=5",
        "method=lora method.update={kind:low_rank,rank:2} ++method.update.stream=7",
        "method=lora method.about.label='${oc.env:HOME}_${NAME}' method.name=null",
        "method=lora method.schedule={kind:constant} +method.rates.extra=[1,a] ~method.about",
        "method=peft peft.r=3 peft.more=[1,{a:b}]",
        "recipe.lr=1e-3",
        "recipe=default recipe.batch_size=007 recipe.lr.adapter=1e-3",
        "model=vit_micro size=tiny",
        "dataset=digits dataset.split.share=0.2 dataset.task.flip=true",
        "method=cla method.update.rank=4 tracker=none isolate=true runs=/tmp/x cache=null seed=3",
        "+banana=1 ++seed={a:1}",
        "~seed",
    ],
)
def test_values_put_into_a_kept_choice_are_what_hydra_makes_of_all_words_at_once(typed, monkeypatch):
    whole = answer(by_hydra(monkeypatch), typed)
    kept = {}
    assert isinstance(whole, dict)
    assert answer(composed.in_full, typed, kept) == whole
    assert answer(composed.in_full, typed, kept) == whole, "nobody alters what is kept"


@pytest.mark.parametrize(
    "typed",
    [
        "method=lora method.update.rankx=4",
        "method=lora method.update.rank.deep=4",
        "method=lora method.update.rank=${nowhere}",
        "method=lora ~method.nothing",
        "method=lora +method.update.rank=4",
        "dataset=digits dataset.most.train=3",
        "banana=1",
        "method.x=1 seed=3",
        "~seed ~banana",
    ],
)
def test_what_is_refused_is_refused_in_the_sentence_that_hydras_refusal_has(typed, monkeypatch):
    whole = answer(by_hydra(monkeypatch), typed)
    assert isinstance(whole, str) and answer(composed.in_full, typed, {}) == whole


def test_a_folder_of_configs_is_hydras_whatever_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("PEFTLAB_CONF", str(tmp_path))
    (tmp_path / "seed").mkdir()
    whole = answer(by_hydra(monkeypatch), "seed=3")
    assert isinstance(whole, str) and answer(composed.in_full, "seed=3", {}) == whole


def by_hydra(monkeypatch):
    """All words given to Hydra at once, nothing kept and no file read beside it."""

    def composed_whole(*given):
        with monkeypatch.context() as patch:
            patch.setattr(compose, "_by_choice", lambda name, file, words, kept: compose._by_hydra(name, file, words))
            return composed.in_full(*given)

    return composed_whole


def answer(composing, typed, *kept):
    """What the words make of the whole config, or of the one group that they touch; or why they are refused."""
    words = [word for override in parse_words(typed.split()) for word in expand(override)]
    group = words[0].key if {word.axis for word in words} == {words[0].key} & set(compose.GROUPS) else None
    name, words = (f"{group}/{words[0].shown}", words[1:]) if group else (compose.ROOT, words)
    try:
        return composing(name, words, *kept)
    except SpecError as error:
        return str(error)


@pytest.mark.long
@pytest.mark.parametrize("group", [group for group in compose.GROUPS if group != "tracker"])
def test_a_file_that_starts_from_no_other_is_what_hydra_makes_of_it(group, monkeypatch):
    for name in compose.choices(group):
        typed = f"{group}={name}"
        assert answer(composed.in_full, typed) == answer(by_hydra(monkeypatch), typed), name


@pytest.mark.parametrize(
    "text",
    [
        "name: mine\nrank: ???\nlabel: ${name} ${oc.env:HOME} ${NAME}\n",
        "name: mine\nwhen: 2020-01-01\non: off\nlr: 1e-3\nn: 1_0\nnothing:\nlist: [1, [2, {a: b}], '07']\n",
        "name: mine\ndefaults: [lora, _self_]\n",
        "# @package method.inner\nname: mine\n",
        "name: mine\nhydra: {job: {name: x}}\nmethod: {name: y}\n",
        "name: mine\nname: mine\n",
        "name: mine\nwrong: ${nowhere}\n",
    ],
)
def test_a_file_of_ones_own_is_what_hydra_makes_of_it(text, tmp_path, monkeypatch):
    monkeypatch.setenv("PEFTLAB_CONF", str(tmp_path))
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "mine.yaml").write_text(text)
    assert answer(composed.in_full, "method=mine") == answer(by_hydra(monkeypatch), "method=mine")


def test_of_one_choice_hydra_is_asked_once_whatever_its_values(monkeypatch):
    asked, hydra = [], compose._by_hydra
    monkeypatch.setattr(compose, "_compose", composed.in_full)
    monkeypatch.setattr(compose, "_by_hydra", lambda *given: asked.append(given) or hydra(*given))
    kept = {}
    for rank in (2, 4, 8):
        words = [assign("method", "lora_plus"), assign("method.update.rank", rank)]
        assert compose_part("method", words, kept)["update"]["rank"] == rank
    assert len(asked) == 1


@pytest.mark.parametrize("word", ["{}.query=3", "{}.7=query", "{}.query.a=3", "+{}.x=3", "++{}.x=3", "~{}.x", "~{}.0"])
def test_a_key_below_a_list_is_told_to_write_the_list_whole(word):
    words = [each for override in parse_words([word.format("method.targets")]) for each in expand(override)]
    with pytest.raises(SpecError, match=r"method\.targets is a list; write all of it, as in method\.targets=\[a,b\]\."):
        compose_part("method", [assign("method", "lora"), *words])
