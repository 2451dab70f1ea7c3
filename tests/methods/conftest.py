"""Tiny random models of every architecture family, and a ten-line training loop."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers

from harness.config.compose import compose_part
from harness.config.overrides import assign
from harness.ledger.parse import parse
from harness.ledger.seeds import Seeds
from harness.training.optimizer import apply_change
from methods.build import build
from methods.method import Layout, Progress
from methods.spec import MethodSpec
from methods.training import Training

CONF = Path(__file__).parents[2] / "conf"
BERT_LIKE = {"q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
             "o": "attention.output.dense", "up": "intermediate.dense", "down": "output.dense"}  # fmt: skip
DEBERTA = BERT_LIKE | {f"{t}": f"attention.self.{n}_proj" for t, n in (("q", "query"), ("k", "key"), ("v", "value"))}
VIT = {f"{t}": f"attention.{t}_proj" for t in "qkvo"} | {"up": "mlp.fc1", "down": "mlp.fc2"}
GPT2 = {"q": "attn.c_attn[0/3]", "k": "attn.c_attn[1/3]", "v": "attn.c_attn[2/3]", "o": "attn.c_proj",
        "up": "mlp.c_fc", "down": "mlp.c_proj"}  # fmt: skip
LLAMA = {t: f"self_attn.{t}_proj" for t in "qkvo"} | {t: f"mlp.{t}_proj" for t in ("gate", "up", "down")}
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
TEXT = SIZES | {"vocab_size": 64, "max_position_embeddings": 64, "initializer_range": 0.2, "num_labels": 3}
CALM = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@dataclass
class Tiny:
    """A model in training mode without dropout, what a method may know of it, and one batch."""

    model: Any
    layout: Layout
    inputs: dict[str, torch.Tensor]
    autocast: bool = False  # to bfloat16

    def logits(self) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            return self.model(**self.inputs).logits

    def loss(self) -> torch.Tensor:
        """Some smooth function of the logits whose gradient is no multiple of them."""
        logits = self.logits().float() if self.model.dtype is not torch.float64 else self.logits()
        return (logits.square() + torch.linspace(-1, 1, logits.numel()).view_as(logits) * logits).mean()


def _model(family: str) -> tuple[Any, dict[str, str], tuple[str, ...]]:
    t = transformers
    if family == "bert":
        return t.BertForSequenceClassification(t.BertConfig(**TEXT, **CALM)), BERT_LIKE, ("classifier",)
    if family == "roberta":
        return t.RobertaForSequenceClassification(t.RobertaConfig(**TEXT, **CALM)), BERT_LIKE, ("classifier",)
    if family == "deberta":
        config = t.DebertaV2Config(**TEXT, **CALM, relative_attention=True, pos_att_type=["p2c", "c2p"],
                                   share_att_key=True, position_buckets=8, pooler_hidden_size=32)  # fmt: skip
        return t.DebertaV2ForSequenceClassification(config), DEBERTA, ("pooler", "classifier")
    if family == "vit":
        config = t.ViTConfig(**SIZES, **CALM, image_size=8, patch_size=4, initializer_range=0.2, num_labels=3)
        return t.ViTForImageClassification(config), VIT, ("classifier",)
    if family == "gpt2":
        config = t.GPT2Config(n_embd=32, n_layer=2, n_head=2, n_inner=48, vocab_size=64, n_positions=64,
                              resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, initializer_range=0.2)  # fmt: skip
        return t.GPT2LMHeadModel(config), GPT2, ()
    config = t.LlamaConfig(**TEXT, num_key_value_heads=1, pad_token_id=0)
    return t.LlamaForSequenceClassification(config), LLAMA, ("score",)


def tiny(family: str = "bert", seed: int = 0, dtype: torch.dtype = torch.float32) -> Tiny:
    made, generator = _made(family, seed, dtype)
    torch.set_rng_state(generator)
    return copy.deepcopy(made)


@cache
def _made(family: str, seed: int, dtype: torch.dtype) -> tuple[Tiny, torch.Tensor]:
    """It, made once, and the state of the generator afterwards."""
    torch.manual_seed(seed)
    model, targets, head = _model(family)
    for parameter in model.parameters():  # no zero biases, no unit norms: nothing is right by accident
        parameter.data += 0.05 * torch.randn_like(parameter)
    images = family == "vit"
    inputs = {"pixel_values": torch.randn(3, 3, 8, 8)} if images else {"input_ids": torch.randint(1, 64, (3, 7))}
    inputs = {name: x.to(dtype) if x.is_floating_point() else x for name, x in inputs.items()}
    return Tiny(model.to(dtype).train(), Layout(targets, head), inputs), torch.get_rng_state()


@cache
def _plain(name: str) -> Any:
    return compose_part("method", [assign("method", name)])


def spec(name: str, **changes: Any) -> MethodSpec:
    """conf/method/<name>.yaml at rank 4 and s = 2, its schedule short; keys of it and of its parts may be changed."""
    raw = {**_plain(name), "update": dict(_plain(name)["update"]), "schedule": dict(_plain(name)["schedule"])}
    if raw["update"]["kind"] not in ("full", "head", "peft", "biases", "adapter_layer"):
        raw["update"] |= {"rank": 4, "alpha": 8.0}
    small = {"reassign": {"rounds": 2}, "post_squeeze": {"rank": 2}}
    raw["schedule"] |= small.get(raw["schedule"]["kind"], {}) | (
        {"minimum": 1} if raw["schedule"].get("minimum") else {}
    )
    for key, value in changes.items():
        where = next(part for part in (raw["update"], raw["schedule"], raw["rates"], raw) if key in part)
        if where is raw["rates"]:
            raw["rates"] = where = dict(where)
        where[key] = value
    return parse(MethodSpec, raw, "method")


def draw(seed: int = 0) -> Callable[..., torch.Generator]:
    return lambda *use: torch.Generator().manual_seed(Seeds(seed).of(*use))


def attach(tiny: Tiny, spec: MethodSpec, seed: int = 0) -> Any:
    method = build(spec, tiny.layout)
    method.attach(tiny.model, draw(seed))
    return method


def train(tiny: Tiny, method: Any, steps: int, *, first: int = 0, total: int | None = None, optimizer: Any = None,
          lr: float = 1e-2, watch: Callable[[int], None] = lambda step: None) -> Any:  # fmt: skip
    """Steps `first` to `steps`, as the training loop does them; returns the optimizer."""
    method.begin(Training(total or steps, 2, lr))
    groups = partial(method.groups, lr, lr, 0.0)
    optimizer = optimizer or torch.optim.AdamW(groups())
    for step in range(first + 1, steps + 1):
        if (penalty := method.penalty()) is not None:
            penalty.backward()
        tiny.loss().backward()
        optimizer.step()
        change = method.after_step(Progress(step, total or steps, 2))
        optimizer.zero_grad()
        apply_change(optimizer, change, groups)
        watch(step)
    return optimizer


def weights(tiny: Tiny, method: Any) -> dict[str, torch.Tensor]:
    """Site path -> a copy of its weight (out, in)."""
    return {site.path: site.weight.clone() for site in method.sites}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def lab():
    return SimpleNamespace(tiny=tiny, spec=spec, draw=draw, attach=attach, train=train, weights=weights)
