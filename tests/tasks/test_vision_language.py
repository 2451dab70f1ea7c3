"""An image and a question: held against transformers' own processor and model, and candidates read one by one."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.gemma3.processing_gemma3 import Gemma3Processor

from harness.config.resolve import Resolver
from harness.data.builtin.shapes_vqa import SIDE, build, draw, png, scene
from harness.ledger.dataset_spec import DatasetSpec
from harness.ledger.errors import DataError, SpecError
from harness.ledger.identity import to_plain
from harness.ledger.parse import parse
from harness.ledger.seeds import Seeds
from harness.models.load import load_model
from harness.tasks.build import build as build_task
from harness.tasks.choice import ChoiceTask
from methods.build import build as build_method
from tests.parts import part_of

RESOLVER = Resolver()
SHAPES = part_of(RESOLVER, "dataset", ("dataset=shapes_vqa",)).spec
ROWS = build({"seed": 5, "rows": 12})["train"]
WRITTEN = {"answer": "generation", "target": " {answer}", "max_new_tokens": 3}
CHOICE = ("candidates", "label", "labels")


def dataset(**task) -> DatasetSpec:
    """dataset=shapes_vqa with another task."""
    plain = to_plain(SHAPES)
    plain["task"] = {key: value for key, value in (plain["task"] | task).items() if value is not None}
    plain |= {"metrics": [plain["metric"]]}
    return parse(DatasetSpec, plain, "dataset")


def written(metric="exact_match", **task) -> DatasetSpec:
    spec = dataset(**(dict.fromkeys(CHOICE) | WRITTEN | task))
    return replace(spec, metric=metric, metrics=(metric,))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    model = part_of(RESOLVER, "model", ("model=gemma3_micro",)).spec
    return load_model(model, SHAPES.task, Seeds(0), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def tiny(peftlab_cache):
    model = part_of(RESOLVER, "model", ("model=gemma3_4b_vl", "model.size=tiny")).spec
    return load_model(model, SHAPES.task, Seeds(0), peftlab_cache)


def examples(task, rows=ROWS):
    return [{"id": str(i), **task.encode(row)} for i, row in enumerate(rows)]


def processor_of(model) -> Gemma3Processor:
    side = {"height": model.processor.image.size, "width": model.processor.image.size}
    image = Gemma3ImageProcessorPil(size=side, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    return Gemma3Processor(image, model.processor.tokenizer, image_seq_length=model.processor.tokens)


def theirs(model, rows=ROWS):
    """What transformers' processor makes of the same images and texts."""
    texts = [f"<start_of_image>{row['question']} answer :" for row in rows]
    images = [[Image.open(io.BytesIO(row["image"]))] for row in rows]
    return processor_of(model)(images=images, text=texts, padding=True, padding_side="left", return_tensors="pt")


@pytest.mark.parametrize("model", ["loaded", "tiny"])
def test_a_batch_is_what_transformers_own_processor_makes_of_the_same_images_and_texts(model, request):
    model = request.getfixturevalue(model)
    task = build_task(written(), model)
    prompts = task._answers.collate(examples(task), None)
    ids, mask = prompts.inputs["input_ids"], (prompts.targets == -100) & (prompts.inputs["attention_mask"] == 1)
    batch, other = task.collate(examples(task), None), theirs(model)
    for row, (own, kept) in enumerate(zip(ids, mask, strict=True)):
        real = other["attention_mask"][row] == 1
        assert own[kept].tolist() == other["input_ids"][row][real].tolist()
        assert batch.inputs["token_type_ids"][row][kept].tolist() == other["token_type_ids"][row][real].tolist()
    if model.processor.image.size == SIDE:  # others are resized, by PIL there and by torch here where they grow
        assert torch.equal(batch.inputs["pixel_values"], other["pixel_values"])


def test_the_scores_of_one_token_candidates_are_transformers_own_logits(loaded):
    task = build_task(SHAPES, loaded)
    predictions = task.predict(loaded.model, task.collate(examples(task), None))
    inputs = {name: value for name, value in theirs(loaded).items() if name != "num_crops"}
    with torch.no_grad():
        logits = loaded.model(**inputs).logits[:, -1]
    tokens = [loaded.processor.tokenizer.convert_tokens_to_ids(label) for label in SHAPES.task.labels]
    logs = logits.log_softmax(-1)[:, tokens].log_softmax(-1)
    assert [p.prediction for p in predictions] == [SHAPES.task.labels[i] for i in logs.argmax(-1)]
    at_target = [float(logs[i, SHAPES.task.labels.index(row["answer"])]) for i, row in enumerate(ROWS)]
    assert [-p.loss for p in predictions] == pytest.approx(at_target, abs=1e-5)


def test_candidates_read_off_the_last_position_score_as_candidates_read_one_by_one(loaded):
    task = build_task(SHAPES, loaded)
    rows = examples(task)
    quick = task.collate(rows, None)
    slow = replace(quick, **vars(ChoiceTask.collate(task._answers, rows, None)))
    ids = slow.inputs["input_ids"]
    images = torch.arange(len(rows)).repeat_interleave(len(SHAPES.task.labels))
    kept = {"pixel_values": quick.inputs["pixel_values"], "token_type_ids": (ids == 6).long(), "images": images}
    slow = replace(slow, inputs={**slow.inputs, **kept})
    assert len(ids) == len(rows) * len(SHAPES.task.labels) and len(quick.inputs["input_ids"]) == len(rows)
    with torch.no_grad():
        losses = task.losses(loaded.model, quick), task.losses(loaded.model, slow)
    assert torch.allclose(*losses, atol=1e-5)


def test_candidates_of_several_tokens_and_of_different_numbers_see_the_image_of_their_own_row(loaded):
    rows = [
        row | {"options": ["red circle", "blue square", "yes"][: 2 + i % 2], "right": "AB"[i % 2]}
        for i, row in enumerate(ROWS[:6])
    ]
    spec = dataset(candidates=[" {option}"], options="options", label="right", labels=["A", "B", "C"])
    task = build_task(spec, loaded)
    batch = task.collate(examples(task, rows), None)
    images = batch.inputs["images"]
    assert images.tolist() == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 5, 5, 5]
    repeated = {name: value for name, value in batch.inputs.items() if name != "images"}
    repeated["pixel_values"] = batch.inputs["pixel_values"][images]
    with torch.no_grad():
        logits = loaded.model(**repeated).logits
        ours = task.losses(loaded.model, batch)
        plain = ChoiceTask.losses(task._answers, lambda **_: type("Output", (), {"logits": logits}), batch)
    assert torch.allclose(ours, plain, atol=1e-5)
    alone = torch.cat([task.losses(loaded.model, task.collate([one], None)) for one in examples(task, rows)])
    assert torch.allclose(ours, alone.detach(), atol=1e-5)


def test_another_image_changes_the_answer_and_a_zero_projector_makes_all_images_one(loaded, tiny):
    for model in (loaded, tiny):
        task = build_task(SHAPES, model)
        rows = examples(task)
        turned = [row | {"image": other["image"]} for row, other in zip(rows, rows[1:] + rows[:1], strict=True)]
        weight = model.model.get_submodule("model.multi_modal_projector").mm_input_projection_weight
        kept = weight.detach().clone()

        def change(task=task, model=model, rows=rows, turned=turned):
            with torch.no_grad():
                own, other = (task.losses(model.model, task.collate(each, None)) for each in (rows, turned))
            return float((own - other).abs().max())

        assert change() > 1e-3
        weight.data.zero_()
        assert change() == 0.0
        weight.data.copy_(kept)


def test_written_answers_are_those_that_transformers_writes_from_its_own_inputs(loaded):
    task = build_task(written(), loaded)
    predictions = task.predict(loaded.model, task.collate(examples(task), None))
    inputs = {name: value for name, value in theirs(loaded).items() if name != "num_crops"}
    out = loaded.model.generate(**inputs, max_new_tokens=3, do_sample=False)
    texts = loaded.processor.tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert [p.prediction for p in predictions] == [text.strip() for text in texts]
    assert [p.target for p in predictions] == [row["answer"] for row in ROWS]


@pytest.mark.parametrize("metric", ["vqa_accuracy", "anls"])
def test_a_written_answer_is_kept_as_it_was_written_beside_all_references_of_its_row(loaded, metric):
    many = [{"answer": text} for text in ("red circle", "Red circle", "red circle", "no", "no")]
    task = build_task(written(metric, answers="answers"), loaded)
    plain = build_task(written(), loaded)
    rows = [row | {"answers": many} for row in ROWS]
    predictions = task.predict(loaded.model, task.collate(examples(task, rows), None))
    others = plain.predict(loaded.model, plain.collate(examples(plain, rows), None))
    assert [p.prediction for p in predictions] == [p.prediction for p in others]
    assert {p.target for p in predictions} == {'["red circle", "Red circle", "red circle", "no", "no"]'}
    assert task.score(predictions)[metric].value == pytest.approx(np.mean([p.score for p in predictions]))
    assert "→  red circle" in task.show(rows[0])
    if metric == "vqa_accuracy":
        with pytest.raises(DataError, match="a row needs at least 4"):
            task.encode(rows[0] | {"answers": ["red", "red", "red"]})


def test_the_micro_model_describes_scenes_of_its_own_language(loaded):
    """By the production path: written captions of new scenes, greedily."""
    import random

    from harness.data.builtin.shapes_vqa import caption

    rng = random.Random(77)
    scenes = [scene(rng) for _ in range(100)]
    rows = [{"image": png(draw(things)), "answer": caption(things)} for things in scenes]
    prompt = {"before": "", "context": "", "after": " describe :", "cut": "right"}
    task = build_task(written(prompt=prompt, max_new_tokens=12, max_length=48), loaded)
    predictions = task.predict(loaded.model, task.collate(examples(task, rows), None))
    assert np.mean([p.score for p in predictions]) >= 0.99


def test_inputs_without_token_type_ids_are_refused(loaded):
    task = build_task(SHAPES, loaded)
    batch = task.collate(examples(task), None)
    inputs = {name: value for name, value in batch.inputs.items() if name != "token_type_ids"}
    with pytest.raises(DataError, match="no token_type_ids"):
        task.losses(loaded.model, replace(batch, inputs=inputs))


@pytest.mark.parametrize("at", [3, 8])
def test_an_image_whose_tokens_were_cut_off_is_refused(loaded, at):
    task = build_task(SHAPES, loaded)
    example = examples(task)[0]
    assert list(example["input_ids"]).count(6) == 9
    with pytest.raises(DataError, match=r"image tokens, and its image needs 9"):
        task.collate([example | {"input_ids": example["input_ids"][:at]}], None)


def test_a_text_that_holds_an_image_token_is_refused(loaded):
    task = build_task(SHAPES, loaded)
    with pytest.raises(DataError, match=r"10 image tokens.*must hold no <image_soft_token>"):
        task.encode(ROWS[0] | {"question": "is there a <image_soft_token> ?"})


def test_a_question_too_long_is_refused_and_the_image_is_never_what_is_cut(loaded):
    short = dataset(max_length=3)
    with pytest.raises(DataError, match=r"raise dataset.task.max_length"):
        build_task(short, loaded).encode(ROWS[0])
    task = build_task(dataset(max_length=5), loaded)  # <bos>, two words, answer :, and the candidate
    example = task.encode(ROWS[0])
    assert example["shortened"] == 1 and list(example["input_ids"]).count(6) == 9


def test_what_is_no_image_is_refused_when_rows_are_encoded(loaded):
    with pytest.raises(DataError, match="not a readable image"):
        build_task(SHAPES, loaded).encode(ROWS[0] | {"image": b"no image"})


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        ({"label": None}, "answer: candidates needs label"),
        ({"target": " {answer}"}, "target is of no use with answer: candidates"),
        ({"answers": "answers"}, "answers is of no use with answer: candidates"),
        ({"labels": ["yes"]}, "at least 2"),
        (dict.fromkeys(CHOICE) | WRITTEN | {"max_new_tokens": None}, "answer: generation needs max_new_tokens"),
        (dict.fromkeys(CHOICE) | WRITTEN | {"options": "x"}, "options is of no use with answer: generation"),
    ],
)
def test_a_card_that_lacks_fields_of_its_kind_of_answer_or_has_those_of_the_other_is_refused(task, sentence):
    with pytest.raises(SpecError, match=sentence):
        dataset(**task)


@pytest.mark.parametrize(
    ("model", "data"), [("gemma3_micro", "digits"), ("vit_micro", "shapes_vqa"), ("gemma3_1b", "shapes_vqa")]
)
def test_models_and_datasets_of_other_kinds_do_not_meet(model, data):
    from harness.planning.compatible import why_not

    method = part_of(RESOLVER, "method", ("method=lora",)).spec
    spec = part_of(RESOLVER, "model", (f"model={model}",)).spec
    assert "cannot do" in (why_not(method, spec, part_of(RESOLVER, "dataset", (f"dataset={data}",)).spec) or "")


@pytest.mark.parametrize(
    "words",
    [
        ("method=lora",), ("method=lora", "method.targets=[q,k,v,o,gate,up,down]"), ("method=cla",), ("method=cola",),
        ("method=c3la",), ("method=paca",), ("method=ba_sparse_lora",), ("method=dora",), ("method=ln_tuning",),
        ("method=full",),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Unsupported layer type")  # peft's, of Gemma's norms; it trains them all the same
def test_no_method_trains_a_parameter_of_the_vision_tower_or_the_projector(words, tiny, peftlab_cache):
    model = load_model(tiny.spec, SHAPES.task, Seeds(0), peftlab_cache)
    frozen = ("model.vision_tower.", "model.multi_modal_projector.")
    before = {n: p.detach().clone() for n, p in model.model.named_parameters() if n.startswith(frozen)}
    assert len(before) > 10
    method = build_method(part_of(RESOLVER, "method", words).spec, model.layout)
    method.attach(model.model, lambda *use: torch.Generator().manual_seed(1))
    groups = method.groups(0.1, 0.1, 0.1)
    trained = {id(p) for group in groups for p in group["params"]}
    names = {name: p for name, p in model.model.named_parameters() if name.startswith(frozen)}
    assert sum(p.numel() for name, p in names.items() if p.requires_grad or id(p) in trained) == 0
    assert not any(key for key in method.tensors() if "vision_tower" in key or "multi_modal_projector" in key)
    assert sum(method.counts().values()) > 0
    task = build_task(SHAPES, model)
    optimizer = torch.optim.AdamW(groups)
    task.losses(model.model, task.collate(examples(task)[:4], None)).mean().backward()
    optimizer.step()
    after = dict(model.model.named_parameters())
    assert all(torch.equal(after[name], value) for name, value in before.items())
