"""Every block of docs/your-own-script.md runs, before the change and after it."""

import re
from pathlib import Path

import peft
import pytest
import torch
import transformers
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from methods.library.layer import LibraryLinear

PAGE = (Path(__file__).parents[2] / "docs/your-own-script.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```diff\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


def side(block, sign):
    """The lines of one side of a diff."""
    return "".join(line[1:] for line in block.splitlines(keepends=True) if line[0] in (" ", "\n", sign))


def llama():
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    config = transformers.LlamaConfig(**sizes, vocab_size=64, num_key_value_heads=1, max_position_embeddings=64)
    return transformers.LlamaForCausalLM(config)


def tokenizer():
    words = {"<pad>": 0, "<eos>": 1, "<unk>": 2} | {f"w{n}": n for n in range(3, 64)}
    inner = Tokenizer(WordLevel(words, unk_token="<unk>"))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )


def given(folder):
    """The names that a block begins with."""
    ids = torch.randint(3, 64, (6, 2, 8), generator=torch.Generator().manual_seed(1))
    return {
        "torch": torch, "transformers": transformers, "model": llama(), "folder": folder,
        "batches": [{"input_ids": rows, "labels": rows} for rows in ids],
        "train_dataset": Dataset.from_dict({name: ids.flatten(0, 1).tolist() for name in ("input_ids", "labels")}),
        "tokenizer": tokenizer(),
    }  # fmt: skip


@pytest.mark.parametrize("sign", ["-", "+"])
@pytest.mark.parametrize("title", BLOCKS)
def test_a_block_trains_and_saves_an_adapter_that_peft_loads(title, sign, tmp_path):
    for module in re.findall(r"^[ +]from (accelerate|trl) ", BLOCKS[title], re.MULTILINE):
        pytest.importorskip(module, reason=f"{module} is not installed: pip install 'peftlab[script]' trl")
    names = given(tmp_path)
    exec(compile(side(BLOCKS[title], sign), title, "exec"), names)
    assert any(isinstance(m, LibraryLinear) for m in names["model"].modules()) == (sign == "+")
    again = peft.PeftModel.from_pretrained(llama(), tmp_path)
    factors = [p for n, p in again.named_parameters() if "lora_B" in n]
    assert factors and all(p.any() for p in factors)


def test_the_page_has_a_block_for_each_kind_of_loop():
    chains = {"A chain in a bare loop", "A chain in transformers.Trainer"}
    assert set(BLOCKS) == {"A bare loop", "transformers.Trainer", "accelerate", "trl.SFTTrainer"} | chains
    assert PAGE.count("```diff") == len(BLOCKS)
