"""The cards at full size, on the meta device: adapter and head parameters equal the study's own counts (§2.2)."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from harness.ledger.dataset_spec import CausalLM, ImageClassification, Prompt, Regression, TextClassification
from harness.ledger.model_spec import ModelSpec
from harness.ledger.parse import parse
from harness.models.config import layout_of
from harness.models.load import build_from_config

CONF = Path(__file__).resolve().parents[2] / "conf" / "model"
# model: layers, LoRA r=16 on q,v (A+B), B only, A only
TABLE = {
    "vit_tiny": (12, 147_456, 73_728, 73_728),
    "vit_base": (12, 589_824, 294_912, 294_912),
    "roberta_base": (12, 589_824, 294_912, 294_912),
    "gpt2_small": (12, 589_824, 294_912, 294_912),
    "deberta_v3_base": (12, 589_824, 294_912, 294_912),
    "roberta_large": (24, 1_572_864, 786_432, 786_432),
    "deberta_v2_xxl": (48, 4_718_592, 2_359_296, 2_359_296),
    "tinyllama": (22, 2_252_800, 811_008, 1_441_792),
    "llama3_8b": (32, 6_815_744, 2_621_440, 4_194_304),
    "deepseek_coder_1_3b": (24, 3_145_728, 1_572_864, 1_572_864),
}
# (model, classes): head parameters; 1 class is a regression
HEADS = {
    ("vit_tiny", 65): 12_545,
    ("vit_tiny", 10): 1_930,
    ("vit_base", 65): 49_985,
    ("vit_base", 10): 7_690,
    ("roberta_base", 2): 592_130,
    ("roberta_large", 2): 1_051_650,
    ("deberta_v3_base", 1): 591_361,
    ("deberta_v3_base", 2): 592_130,
    ("deberta_v3_base", 50): 629_042,
    ("deberta_v2_xxl", 2): 2_363_906,
    ("deberta_v2_xxl", 50): 2_437_682,
    ("tinyllama", 4): 8_192,
    ("tinyllama", 3): 6_144,
    ("tinyllama", 21): 43_008,
    ("llama3_8b", 4): 16_384,
    ("llama3_8b", 21): 86_016,
}
RANK = 16
LM = CausalLM("causal_lm", Prompt("", "{x}", "", "right"), "{y}", True, 64)


def card(name: str) -> ModelSpec:
    return parse(ModelSpec, yaml.safe_load((CONF / f"{name}.yaml").read_text()), "model")


def classes(spec: ModelSpec, count: int):
    labels = tuple(map(str, range(count)))
    if spec.kind == "image_encoder":
        return ImageClassification("image_classification", "image", "label", labels, None, False)
    if count == 1:
        return Regression("regression", ("text",), "longest", None, "label", 64)
    return TextClassification("text_classification", ("text",), "longest", None, "label", labels, {}, 64)


def widths(model: torch.nn.Module, address: str) -> list[tuple[int, int]]:
    """(in, out) of every module that a card's address names, read from the weights' shapes alone."""
    path, _, parts = re.fullmatch(r"(.+?)(\[\d+/(\d+)\])?", address).groups()
    named = [module for name, module in model.named_modules() if re.search(rf"\.\d+\.{re.escape(path)}$", name)]
    shapes = [tuple(module.weight.shape) for module in named]
    if parts:  # a fused Conv1D stores (in, out)
        return [(rows, columns // int(parts)) for rows, columns in shapes]
    return [(columns, rows) for rows, columns in shapes]


@pytest.mark.parametrize("name", TABLE)
def test_adapter_parameters_of_the_full_size_models_equal_the_studys_table(name):
    layers, both, b_only, a_only = TABLE[name]
    spec = card(name)
    model = build_from_config(spec, classes(spec, 4) if spec.kind != "decoder" else LM, device="meta")
    found = widths(model, spec.targets["q"]) + widths(model, spec.targets["v"])
    assert len(found) == 2 * layers
    assert sum(RANK * width for width, _ in found) == a_only
    assert sum(RANK * width for _, width in found) == b_only
    assert a_only + b_only == both
    assert all(parameter.is_meta for parameter in model.parameters())


@pytest.mark.parametrize(("name", "count"), HEADS)
def test_head_parameters_equal_the_studys(name, count):
    spec = card(name)
    task = classes(spec, count)
    modules = dict(build_from_config(spec, task, layers=1, device="meta").named_modules())
    paths = layout_of(spec, task).head
    assert sum(p.numel() for path in paths for p in modules[path].parameters()) == HEADS[name, count]


@pytest.mark.parametrize("name", sorted(path.stem for path in CONF.glob("*.yaml")))
def test_every_target_of_every_card_names_one_module_in_each_block(name):
    spec = card(name)
    task = LM if spec.kind == "vision_language" else classes(spec, 2)
    model = build_from_config(spec, task, layers=3, device="meta")
    part = model.get_submodule(layout_of(spec, task).within)  # what has the same names outside of it is left alone
    for target, address in spec.targets.items():
        assert len(widths(part, address)) == 3, target


def test_an_lm_head_is_never_among_what_a_method_trains():
    for name in ("gpt2_small", "deepseek_coder_1_3b"):
        assert layout_of(card(name), LM).head == ()
        assert layout_of(card(name), classes(card(name), 2)).head == ("score",)
