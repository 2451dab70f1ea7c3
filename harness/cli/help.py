"""The prose of `peftlab VERB --help`; the arguments stand in `harness.cli.commands`."""

import re
import shutil
import textwrap
from itertools import groupby

from harness.config.groups import GROUPS, choices
from harness.ledger.diagnoses import VERSIONS

WIDTH = min(118, max(60, shutil.get_terminal_size().columns))
OVERRIDES = """\
WORDS are Hydra's: key=value, comma lists, range(...), glob(*), +key=value, ~key.
  method= model= dataset= recipe= seed=   what a run is; each has settings of its own, as in method.update.rank=8
  model.size=tiny                         the same architecture with two layers and random weights, no download
  sweep= cluster= tracker=                a named grid, where it runs, what mirrors it
  runs=DIR report=DIR cache=DIR device=auto|cpu|cuda keep=adapters|all|none wandb.mode=offline|online|disabled
"""
TEXTS = {
    "run": """\
  peftlab run method=lora model=minilm dataset=stdlib_docs seed=0
  peftlab run method=cla method.update.rank=8 model=vit_micro dataset=digits recipe.lr=1e-3""",
    "sweep": """\
Only what is missing is run. Exit code 1 when a run failed.

  peftlab sweep sweep=quickstart
  peftlab sweep method=lora,cla,paca model=minilm dataset=stdlib_docs 'seed=range(5)'
  peftlab sweep sweep=quickstart cluster=slurm""",
    "plan": """\
With memory and time of every cell; where the cluster's machine is known, for that machine. No run is written or
started.

  peftlab plan sweep=beyond_lora""",
    "status": """\
Every planned run: done, running, pending, failed (why), skipped (why). Without a name: all sweeps.""",
    "explain": "  peftlab explain method=lora model=vit_micro dataset=digits seed=3",
    "retry": "The records of failed runs are set aside, so that the next `peftlab sweep` does the runs again.",
    "cancel": """\
Ends its jobs and local runs. They keep their checkpoints: the next `peftlab sweep` goes on from them.""",
    "sync": "Uploads the offline W&B runs of finished runs, each once.",
    "diagnose": f"""\
From the weights that the runs of a sweep kept, each question once; nothing is trained. Beside each run:
RUN/KIND/DIGEST.json. Exit code 1 when one failed. Kinds: {", ".join(VERSIONS)} (default: all).

  peftlab diagnose sweep=quickstart kinds=generalization

  checkpoint=  the one that validation chose, which is tested, or the last one (runs with keep_last=true keep both)
  rows=N       at most so many examples of a split, the same ones for every run (default: 1000)""",
    "compare": """\
  peftlab compare analysis/published/beyond_lora_table2.csv
  peftlab compare table.tex --metric=accuracy --control=LoRA""",
    "advise": "  peftlab advise --max-gb 24 --max-hours 2 task=text",
    "audit": "Exit code 1 when something is suspicious.",
    "probe": """\
Weights come from the model's card alone: nothing is downloaded.

  peftlab probe method=lora,cla,paca model=roberta_base layers=4 batch=16 length=128 targets=all
  peftlab probe method=lora model=llama3_8b counts=true

  batch=16 length=128 layers=N     the shape (layers: all of the model's)
  targets=[q,v]|all                instead of each method's own
  steps=100 warmup=20 rounds=10    timed steps of each method, in rounds over all methods
  counts=true                      ledger, parameters and FLOPs alone, from shapes: no weights, no time
  peft=false                       without LoRA and DoRA of the peft library
  device= precision= seed=""",
    "export": "adapter_config.json and adapter_model.safetensors, for peft.PeftModel.from_pretrained.",
    "merge": "A plain model folder, the update in its weights, for from_pretrained of transformers.",
    "squeeze": """\
The closest adapter of a lower rank, by singular values, with squeeze.csv and spectrum.png. Give --rank or --keep.

  peftlab squeeze my_adapter my_adapter_r8 --rank 8
  peftlab squeeze my_adapter small --keep 0.95""",
    "budget": """\
The ranks that keep the most of Σ σ² of the trained updates: uniform, greedy and exact, side by side.
tasks: finished runs of method=lora on one model, one for each task; weights: what each counts.
Answers are also kept beside each run.

  peftlab budget tasks=8b3cc67d,e88d18bb weights=2,1 --parameters 100000 --merge""",
    "search": """\
Every trial is a run. The same command goes on where it was; started several times, it works on one study.

  peftlab search method=lora model=minilm dataset=stdlib_docs search.trials=20 search.parameters=50000
  peftlab search method=lora model=minilm dataset=trec50 search.per=layer 'search.rungs=[50,150,450]'

  search.strategy=tpe|evolution|reinforce   search.per=kind|layer   search.ranks=[1,2,4,8,16,32]
  search.parameters=N   no trial has more in its adapters     search.trials=N   runs in all
  search.rungs=[N,…]    optimizer steps: the best 1 in search.keep go on to the next     search.seed=N""",
    "recommend-rank": """\
The rank of each weight that holds a share of its spectrum (Σ s, and Σ s²), of the first gradient's and of a trained
wide adapter's, and the rank that the information bottleneck prefers; with a picture, and what the store's sweep
rank_recommend says of how good such advice was. Of data, train alone is read. With sweep=NAME, one for the widest run
of the first seed of each model and dataset.

  peftlab recommend-rank model=minilm dataset=stdlib_docs recipe=quick_text
  peftlab recommend-rank --from 3cfba37c --energy 0.95
  peftlab recommend-rank sweep=rank_recommend""",
    "shrink": """\
The adapter of a finished run at every rank below its own (DyLoRA's nested ranks; of other low-rank updates the closest
product), with score and latency; and with parameters dropped, at random with rescale and by magnitude. Nothing is
trained; the answer also lies beside the run.

  peftlab shrink 3cfba37c""",
    "list": """\
Label, size, licence, formula and source of each, and whether models and data are on this machine.""",
    "new": """\
Goes into the folder that PEFTLAB_CONF names, else ./peftlab_conf, and is found there by every verb. Never overwrites.

  peftlab new dataset fruit --from fruit.csv
  peftlab new dataset fruit --from folder_with_train_and_test --label kind
  peftlab new method wide --from lora method.update.rank=64
  peftlab new sweep fruit_trial dataset=fruit method=lora,cla
  peftlab new cluster mine cluster.partition=gpu cluster.gpus=1""",
    "check": """\
Reads it as the verbs would: keys, values, names; of a dataset the data too, and of a sweep its plan.

  peftlab check peftlab_conf/dataset/fruit.yaml""",
    "show": """\
Of a dataset: source, sizes, classes, and the first three training examples as encoders and decoders read them. Of the
others: every setting, as it would be typed.

  peftlab show dataset=stdlib_docs
  peftlab show method=lora,cla method.update.rank=8""",
    "check-method": """\
What every method must keep is tried on tiny models, as docs/capabilities.md has it. Then a step is timed beside
LoRA's, and the sweep check_NAME is written and done: the quickstart's cells, four rates for both methods, three seeds,
a margin that was written before. Some minutes on two cores; given again, it goes on. Its report has the verdict,
the contract and the step; so has --json.

  peftlab check-method path/to/gated.py --contract
  peftlab check-method hira""",
    "fetch": """\
Every model, tokenizer and dataset at its revision, into the hub's cache; started again, it goes on.""",
    "completion": """\
Prints lines for the start file of the shell (~/.bashrc, ~/.zshrc, ~/.config/fish/config.fish). Needs
peftlab[completion].

  eval "$(peftlab completion bash)"
  peftlab completion fish | source""",
    "doctor": """\
Packages, GPU, disk, hub, token, SLURM and W&B: what this machine has, and what the sweep needs.""",
}


def overrides_help() -> str:
    """What overrides are, and what there is to choose from."""
    groups = {group: ", ".join(choices(group)) for group in GROUPS}
    return fitted(OVERRIDES) + "".join(
        textwrap.fill(f"  {group + '=':<9} {names}", WIDTH, subsequent_indent=" " * 12) + "\n"
        for group, names in groups.items()
    )


def fitted(text: str, width: int = WIDTH) -> str:
    """Within a width: prose is filled, what a key means folds under itself, and a command stays as it can be copied."""
    lines = []
    for is_prose, group in groupby(text.split("\n"), key=lambda line: bool(line) and not line.startswith(" ")):
        together = list(group)
        lines += textwrap.wrap(" ".join(together), width) if is_prose else [_folded(line, width) for line in together]
    return "\n".join(lines)


def _folded(line: str, width: int) -> str:
    if len(line) <= width or line.startswith("  peftlab"):
        return line
    column = re.match(r" *\S.*?  +|  ", line)  # where the meaning of a key begins
    indent = " " * min(len(column.group()) if column else 0, 2 * width // 3)
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
