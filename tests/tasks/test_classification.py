"""Classification and regression: what goes into the model, what counts as a label, and known answers."""

import io
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from harness.config.resolve import Resolver
from harness.ledger.errors import DataError, SpecError
from harness.ledger.seeds import Seeds
from harness.models.load import load_model
from harness.models.loaded import ImageProcessor
from harness.tasks.build import build
from harness.tasks.images import decode, flipped, stack
from harness.training.loader import DataLoader
from tests.parts import part_of

RESOLVER = Resolver()
PAIRS = [
    {"sentence1": "A man plays a guitar.", "sentence2": "Someone makes music.", "label": "equivalent"},
    {
        "sentence1": "It rains.",
        "sentence2": "The stock market fell again on Monday, by a lot.",
        "label": "not_equivalent",
    },
]


def loaded(cache, model: str, dataset: str, *words: str, size: str = "tiny"):
    spec = part_of(RESOLVER, "dataset", (f"dataset={dataset}", *words)).spec
    card = part_of(RESOLVER, "model", (f"model={model}", f"model.size={size}")).spec
    model_ = load_model(card, spec.task, Seeds(0), cache)
    return model_, build(spec, model_)


def batch_of(task, rows, rng=None):
    examples = [{"id": str(i), **task.encode(row)} for i, row in enumerate(rows)]
    return task.collate(examples, rng), examples


class Says(nn.Module):
    """Fixed logits, whatever comes in."""

    def __init__(self, logits) -> None:
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, **inputs):
        return SimpleNamespace(logits=self.logits)


@pytest.mark.parametrize("name", ["roberta_base", "deberta_v3_base", "minilm"])
def test_a_padded_pair_equals_the_tokenizers_own_batch(peftlab_cache, name):
    model, task = loaded(peftlab_cache, name, "mrpc", size="full" if name == "minilm" else "tiny")
    batch, _ = batch_of(task, PAIRS)
    firsts, seconds = [row["sentence1"] for row in PAIRS], [row["sentence2"] for row in PAIRS]
    wanted = model.processor(firsts, seconds, padding=True, return_tensors="pt")
    assert set(batch.inputs) == set(wanted)
    assert all(torch.equal(batch.inputs[key], wanted[key]) for key in wanted)
    assert batch.tokens == int(wanted["attention_mask"].sum()) and batch.padded_tokens == wanted["input_ids"].numel()


def test_a_perfect_classifier_scores_one_and_a_wrong_one_zero(peftlab_cache):
    _, task = loaded(peftlab_cache, "roberta_base", "mrpc")
    batch, _ = batch_of(task, PAIRS)
    right = task.score(task.predict(Says([[0.0, 30.0], [30.0, 0.0]]), batch))
    wrong = task.score(task.predict(Says([[30.0, 0.0], [0.0, 30.0]]), batch))
    assert (right["accuracy"].value, right["f1"].value) == (1.0, 1.0) and right["loss"].value < 1e-6
    assert (wrong["accuracy"].value, wrong["f1"].value) == (0.0, 0.0) and wrong["loss"].value == pytest.approx(30.0)


def test_losses_are_the_cross_entropy_that_predictions_report(peftlab_cache):
    model, task = loaded(peftlab_cache, "gpt2_small", "trec50")
    batch, _ = batch_of(
        task, [{"text": "Who was Galileo ?", "fine_label": "HUM:desc"}, {"text": "Why ?", "fine_label": "DESC:reason"}]
    )
    with torch.no_grad():
        losses, found = task.losses(model.model, batch), task.predict(model.model, batch)
    assert losses.tolist() == pytest.approx([p.loss for p in found])
    assert [np.exp(-p.loss) for p in found] == pytest.approx([p.score for p in found])
    assert [p.target for p in found] == ["HUM:desc", "DESC:reason"]


def test_a_decoder_classifies_by_its_last_token_so_padding_changes_nothing(peftlab_cache):
    model, task = loaded(peftlab_cache, "tinyllama", "folio")
    rows = [
        {"premises": "All cats purr.", "conclusion": "Tom purrs.", "label": "Uncertain"},
        {"premises": "All dogs bark. Rex is a dog. " * 6, "conclusion": "Rex barks.", "label": "True"},
    ]
    with torch.no_grad():
        together = task.predict(model.model, batch_of(task, rows)[0])
        alone = [task.predict(model.model, batch_of(task, [row])[0])[0] for row in rows]
    assert [p.loss for p in together] == pytest.approx([p.loss for p in alone], rel=1e-4)
    assert together[0].target == "Uncertain"


def test_a_long_premise_is_shortened_and_the_statement_is_not(peftlab_cache):
    row = {"premises": "Something is the case. " * 90, "conclusion": "The moon is made of cheese.", "label": "False"}
    for name in ("tinyllama", "roberta_base"):
        model, task = loaded(peftlab_cache, name, "folio", "dataset.task.max_length=30")
        example = task.encode(row)
        text = model.processor.decode(example["input_ids"])
        assert len(example["input_ids"]) <= 2 * 30 and example["shortened"] == 1
        assert "The moon is made of cheese." in text


@pytest.mark.parametrize(
    ("label", "sentence"),
    [("equivalnt", "Did you mean 'equivalent'"), (-1, "unknown label -1"), (None, "unknown label")],
)
def test_an_unknown_label_is_an_error_and_never_class_zero(peftlab_cache, label, sentence):
    _, task = loaded(peftlab_cache, "roberta_base", "mrpc")
    with pytest.raises(DataError, match=sentence):
        task.encode(PAIRS[0] | {"label": label})


def test_a_regression_reports_squared_errors_and_refuses_what_is_no_number(peftlab_cache):
    _, task = loaded(peftlab_cache, "deberta_v3_base", "stsb")
    rows = [{"sentence1": "a", "sentence2": "b", "label": value} for value in (0.0, 2.5, 5)]
    batch, _ = batch_of(task, rows)
    found = task.predict(Says([[1.0], [2.5], [3.0]]), batch)
    assert [p.loss for p in found] == [1.0, 0.0, 4.0] and [p.prediction for p in found] == [1.0, 2.5, 3.0]
    assert task.losses(Says([[1.0], [2.5], [3.0]]), batch).tolist() == [1.0, 0.0, 4.0]
    assert task.score(found)["pearson"].value == pytest.approx(np.corrcoef([0, 2.5, 5], [1, 2.5, 3])[0, 1])
    with pytest.raises(DataError, match="needs a number"):
        task.encode(rows[0] | {"label": float("nan")})


def test_text_and_images_do_not_meet(peftlab_cache):
    card = part_of(RESOLVER, "model", ("model=vit_tiny", "model.size=tiny")).spec
    text, images = (part_of(RESOLVER, "dataset", (f"dataset={name}",)).spec for name in ("cola", "cifar10"))
    with pytest.raises(SpecError, match="vit_tiny"):
        build(text, load_model(card, images.task, Seeds(0), peftlab_cache))


PROCESSOR = ImageProcessor(size=8, channels=3, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def test_pixels_are_normalised_with_the_processors_mean_and_deviation():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    found = stack([decode({"bytes": png(pixels), "path": None}, PROCESSOR, 8)], PROCESSOR, 8)
    wanted = (pixels.astype(np.float64) / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4]
    assert np.allclose(found[0].permute(1, 2, 0).numpy(), wanted, atol=1e-5)


def test_images_are_shrunk_as_pil_does_and_enlarged_as_pil_does_up_to_rounding():
    rng = np.random.default_rng(1)
    large, small = (rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (20, 5))
    for pixels in (large, small):
        ours = stack([decode(png(pixels), PROCESSOR, 8)], PROCESSOR, 8)[0].permute(1, 2, 0).numpy()
        ours = ours * [0.2, 0.3, 0.4] + [0.5, 0.4, 0.3]
        pil = np.asarray(Image.fromarray(pixels).resize((8, 8), Image.Resampling.BILINEAR)) / 255
        assert np.abs(ours - pil).max() <= 1.01 / 255


def test_flips_follow_their_generator_and_happen_half_of_the_time():
    pixels = torch.arange(400.0)[:, None, None, None] + torch.arange(3.0)
    first, again, other = (flipped(pixels, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    turned = (first != pixels).flatten(1).any(1)
    assert torch.equal(first[turned], pixels[turned].flip(-1)) and 150 < int(turned.sum()) < 250


def test_flips_of_a_step_follow_the_seed_and_are_the_same_after_a_restart(peftlab_cache):
    _, task = loaded(peftlab_cache, "vit_tiny", "digits", "dataset.task.flip=true")
    image = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(image, format="PNG")
    examples = [{"id": str(i), **task.encode({"image": image.getvalue(), "label": "5"})} for i in range(12)]

    def pixels(seed: int, start: int) -> torch.Tensor:
        feed = DataLoader(examples, [1] * 12, task, batch_size=4, accumulate=1, seeds=Seeds(seed))
        (batch,) = next(itertools.islice(feed.steps(start), 5 - start, None))  # of step 5, in the second epoch
        return batch.inputs["pixel_values"]

    whole = pixels(0, start=0)
    assert torch.equal(whole, pixels(0, start=5))
    assert not torch.equal(whole, whole.flip(-1)) and any(
        not torch.equal(whole, pixels(seed, start=0)) for seed in (1, 2, 3)
    )


def test_evaluation_never_flips(peftlab_cache):
    _, task = loaded(peftlab_cache, "vit_tiny", "cifar10")
    rows = [
        {
            "img": png(np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8)),
            "label": task._task.labels[i],
        }
        for i in range(8)
    ]
    plain, again = batch_of(task, rows)[0], batch_of(task, rows)[0]
    training = batch_of(task, rows, torch.Generator().manual_seed(0))[0]
    assert torch.equal(plain.inputs["pixel_values"], again.inputs["pixel_values"])
    assert not torch.equal(plain.inputs["pixel_values"], training.inputs["pixel_values"])


def test_what_is_no_image_is_refused():
    with pytest.raises(DataError, match="not a readable image"):
        decode(b"no image", PROCESSOR, 8)
    with pytest.raises(DataError, match=r"the image file cat.png cannot be read: No such file"):
        decode("cat.png", PROCESSOR, 8)
    with pytest.raises(DataError, match="the image column holds None"):
        decode({"bytes": None, "path": None}, PROCESSOR, 8)
