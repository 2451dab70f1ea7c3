"""transformers.Trainer: a run that was cut off goes on to the same bits, and its loop is ours."""

import pytest
import torch
import transformers
from datasets import Dataset

from methods.library import ChainCallback
from methods.library.chain import link_after

pytest.importorskip("accelerate", reason="transformers.Trainer needs accelerate: pip install 'peftlab[script]'")
STEPS = 6


def rows(script):
    batch = script.inputs(rows=12)
    return Dataset.from_dict({name: tensor.tolist() for name, tensor in batch.items()})


def trainer(script, name, folder, callbacks=(), **options):
    given = {"max_steps": STEPS, "learning_rate": 1e-2, "save_steps": 3, "per_device_train_batch_size": 2}
    quiet = {"report_to": "none", "use_cpu": True, "disable_tqdm": True, "lr_scheduler_type": "constant"}
    arguments = transformers.TrainingArguments(str(folder), **given | quiet | options)
    model = script.adapted(name, script.bert(), task_type="SEQ_CLS")
    both = [ChainCallback(), *callbacks]
    return transformers.Trainer(model, arguments, train_dataset=rows(script), callbacks=both)


class Links(transformers.TrainerCallback):
    """Which link is trained in each step, by what moves."""

    def __init__(self):
        self.moved, self.before = [], None

    def on_step_begin(self, args, state, control, **kwargs):
        self.before = b_of(kwargs["model"])

    def on_optimizer_step(self, args, state, control, **kwargs):
        now = b_of(kwargs["model"])
        self.moved.append([not torch.equal(*pair) for pair in zip(now, self.before, strict=True)].index(True))


def b_of(model):
    """The links' blocks of one B."""
    return next(p for n, p in model.named_parameters() if "lora_B" in n).detach().clone().chunk(3, dim=1)


@pytest.mark.parametrize("name", ["cla", "c3la", "cola"])
def test_a_run_that_goes_on_from_a_checkpoint_ends_in_the_same_bits(script, name, tmp_path):
    """The checkpoint of step 3 lies within the second link of three."""
    whole = trainer(script, name, tmp_path)
    whole.train()
    again = trainer(script, name, tmp_path / "again")
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    for key, tensor in script.factors(whole.model).items():
        assert torch.equal(tensor, script.factors(again.model)[key]), key


def test_a_checkpoint_at_a_links_end_goes_on_in_the_next_link(script, tmp_path):
    whole = trainer(script, "c3la", tmp_path, save_steps=2)
    whole.train()
    again = trainer(script, "c3la", tmp_path / "again", save_steps=2)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    for key, tensor in script.factors(whole.model).items():
        assert torch.equal(tensor, script.factors(again.model)[key]), key


def test_the_callback_trains_one_link_after_the_other(script, tmp_path):
    links = Links()
    trainer(script, "r_c3la", tmp_path, [links]).train()
    assert links.moved == [link_after(step, STEPS, 3) for step in range(STEPS)] == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("name", ["cla", "c3la"])
def test_accumulation_checkpointing_and_bfloat16_of_the_trainer_go_together(script, name, tmp_path):
    options = {"gradient_accumulation_steps": 2, "gradient_checkpointing": True, "bf16": True, "max_steps": 3}
    run = trainer(script, name, tmp_path, save_strategy="no", **options)
    before = script.factors(run.model)
    run.train()
    after = script.factors(run.model)
    assert all(torch.isfinite(t).all() for t in after.values())
    assert all(torch.equal(after[k], before[k]) == ("lora_A" in k) for k in before)
