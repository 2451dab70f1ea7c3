"""A tiny BERT, a tiny GPT-2 and a bare loop, for adapters that are made through `peft.get_peft_model`."""

from types import SimpleNamespace

import pytest
import torch
import transformers
from peft import get_peft_model

import methods.library
from methods.library import chain_step

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
CALM = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
QV = ["query", "value"]
STEPS = 6


def bert(seed=0, **options):
    torch.manual_seed(seed)
    given = {"vocab_size": 64, "max_position_embeddings": 64, "initializer_range": 0.2, "num_labels": 3}
    return transformers.BertForSequenceClassification(transformers.BertConfig(**SIZES, **CALM, **given, **options))


def gpt2(seed=0):
    torch.manual_seed(seed)
    calm = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "initializer_range": 0.2}
    config = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=2, n_inner=48, vocab_size=64, n_positions=64, **calm)
    return transformers.GPT2LMHeadModel(config)


def inputs(seed=0, rows=6):
    """Input ids and labels of one batch."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 64, (rows, 7), generator=generator)
    return {"input_ids": ids, "labels": torch.randint(0, 3, (rows,), generator=generator)}


def config(name, **options):
    return getattr(methods.library, name)(**{"r": 4, "lora_alpha": 8, "target_modules": QV} | options)


def adapted(name, model=None, **options):
    return get_peft_model(bert() if model is None else model, config(name, **options))


def trained(model):
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def optimizer_of(model, **options):
    return torch.optim.AdamW(trained(model), lr=1e-2, weight_decay=0.0, **options)


def train(model, steps=STEPS, optimizer=None, first=0, total=STEPS, loss=lambda model, batch: model(**batch).loss):
    """A bare loop over steps `first` to `steps`; a new batch for each."""
    optimizer = optimizer or optimizer_of(model)
    chain_step(model, first, total)
    for step in range(first + 1, steps + 1):
        loss(model.train(), inputs(step)).backward()
        optimizer.step()
        optimizer.zero_grad()
        chain_step(model, step, total, optimizer)
    return optimizer


@torch.no_grad()
def logits(model):
    return model.eval()(input_ids=inputs()["input_ids"]).logits


def factors(model):
    return {name: p.detach().clone() for name, p in model.named_parameters() if "lora_" in name}


@pytest.fixture
def script():
    torch.set_num_threads(1)
    return SimpleNamespace(
        bert=bert, gpt2=gpt2, inputs=inputs, config=config, adapted=adapted, trained=trained, QV=QV, STEPS=STEPS,
        optimizer_of=optimizer_of, train=train, logits=logits, factors=factors,
    )  # fmt: skip
