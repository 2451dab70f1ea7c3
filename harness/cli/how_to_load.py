"""The lines of Python by which the libraries alone load what `export` and `merge` write, by the kind of task.

They stand in the folder's README.md and run as they are in it; each ends by printing an answer.
"""

import json

from harness.ledger.dataset_spec import (
    ImageClassification,
    Prompt,
    Regression,
    TaskSpec,
    TextClassification,
    VisionLanguage,
)

PIPELINES = {
    "text_classification": "text-classification",
    "regression": "text-classification",
    "image_classification": "image-classification",
    "causal_lm": "text-generation",
    "generation": "text-generation",
    "choice": "text-generation",
    "vision_language": "image-text-to-text",
}
FOLDER = 'folder = "."  # where this README.md lies\n'


def of_model(task: TaskSpec, decoder: bool) -> str:
    """Of a merged model."""
    if isinstance(task, VisionLanguage):
        imports = "from transformers import AutoModelForImageTextToText, AutoProcessor\n"
        return _PIL + imports + _vision("AutoModelForImageTextToText.from_pretrained(folder)", task)
    name = PIPELINES[task.kind]
    start = f'from transformers import pipeline\n\n{FOLDER}ask = pipeline("{name}", model=folder)\n'
    return (_PIL if isinstance(task, ImageClassification) else "") + start + _asked(task, decoder)


def of_adapter(task: TaskSpec, decoder: bool, base_is_here: bool) -> str:
    """Of an adapter. With `base_is_here` its base model lies in the folder, and says its labels itself."""
    labels = "" if base_is_here else _labels(task)
    auto = _auto_class(task)
    model = f"{auto}.from_pretrained(folder{labels})"
    if isinstance(task, VisionLanguage):
        imports = f"from peft import {auto}\nfrom transformers import AutoProcessor\n"
        return _PIL + imports + _vision(model, task)
    image = isinstance(task, ImageClassification)
    reader = "AutoImageProcessor" if image else "AutoTokenizer"
    keyword = "image_processor" if image else "tokenizer"
    start = (_PIL if image else "") + ("import json\n\n" if labels else "")
    start += f"from peft import {auto}\nfrom transformers import {reader}, pipeline\n\n{FOLDER}"
    start += 'task = json.load(open(f"{folder}/task.json", encoding="utf-8"))\n' if labels else ""
    start += f"model = {model}\n{keyword} = {reader}.from_pretrained(folder)\n"
    return (
        start + f'ask = pipeline("{PIPELINES[task.kind]}", model=model, {keyword}={keyword})\n' + _asked(task, decoder)
    )


def _auto_class(task: TaskSpec) -> str:
    if isinstance(task, TextClassification | Regression):
        return "AutoPeftModelForSequenceClassification"
    return "AutoPeftModel" if isinstance(task, ImageClassification) else "AutoPeftModelForCausalLM"


def _labels(task: TaskSpec) -> str:
    if isinstance(task, TextClassification | ImageClassification):
        return ', num_labels=len(task["labels"]), id2label=dict(enumerate(task["labels"]))'
    return ", num_labels=1" if isinstance(task, Regression) else ""


_PIL = "from PIL import Image\n"
_IMAGE = 'image = Image.new("RGB", (64, 64), "white")  # or Image.open(…)\n'


def _asked(task: TaskSpec, decoder: bool) -> str:
    if isinstance(task, ImageClassification):
        return f"{_IMAGE}print(ask(image))"
    if isinstance(task, TextClassification | Regression):
        if not decoder and task.text:
            keys = [f'"{key}": "the {column}"' for key, column in zip(("text", "text_pair"), task.text, strict=False)]
            return f"print(ask({{{', '.join(keys)}}}, truncation=True))"
        return f"{_prompt(task.prompt)}print(ask(prompt))"
    return f"{_prompt(getattr(task, 'prompt', None))}print(ask(prompt, return_full_text=False))"


def _prompt(prompt: Prompt | None) -> str:
    """The template as a Python text."""
    text = "a text" if prompt is None else prompt.before + prompt.context + prompt.after
    return f"prompt = {json.dumps(text, ensure_ascii=False)}  # with its {{columns}} filled in\n"


def _vision(model: str, task: VisionLanguage) -> str:
    return (
        f"\n{FOLDER}model = {model}\nprocessor = AutoProcessor.from_pretrained(folder)\n{_IMAGE}{_prompt(task.prompt)}"
        'inputs = processor(images=image, text=processor.tokenizer.boi_token + prompt, return_tensors="pt")\n'
        "print(processor.decode(model.generate(**inputs)[0], skip_special_tokens=True))"
    )
