"""What `peftlab VERB --help` prints; a test holds it against the flags that the verbs take."""

import textwrap

from harness.config.compose import GROUPS, choices

WORDS = """\
WORDS are Hydra's: key=value, comma lists, range(...), glob(*), +key=value, ~key.
  method= model= dataset= recipe= seed=   what a run is; each has settings of its own, as in method.update.rank=8
  model.size=tiny                         the same architecture with two layers and random weights, no download
  sweep= cluster= tracker=                a named grid, where it runs, what mirrors it
  runs=DIR report=DIR cache=DIR device=auto|cpu|cuda keep=adapters|all|none wandb.mode=offline|online|disabled
"""

SWEEP = """\
  SWEEP         the name of a sweep that was planned or run, as NAME or sweep=NAME
  --runs DIR    where the runs are (default: runs)
"""

USAGE = {
    "run": f"""\
peftlab run [WORDS] [--json]

  peftlab run method=lora model=minilm dataset=stdlib_docs seed=0
  peftlab run method=cla method.update.rank=8 model=vit_micro dataset=digits recipe.lr=1e-3

{WORDS}
  --json   the record, as docs/record.schema.json describes it
""",
    "sweep": f"""\
peftlab sweep [WORDS] [--json]

  peftlab sweep sweep=quickstart
  peftlab sweep method=lora,cla,paca model=minilm dataset=stdlib_docs 'seed=range(5)'
  peftlab sweep sweep=quickstart cluster=slurm

Only what is missing is run. Exit code 1 when a run failed.

{WORDS}
  --json   the summary of the report
""",
    "search": f"""\
peftlab search [WORDS] [search.KEY=VALUE …] [--json]

  peftlab search method=lora model=minilm dataset=stdlib_docs search.trials=20 search.parameters=50000
  peftlab search method=lora model=minilm dataset=trec50 search.per=layer 'search.rungs=[50,150,450]'

Every trial is a run. The same command goes on where it was; started several times, it works on one study.

{WORDS}
  search.strategy=tpe|evolution|reinforce   search.per=kind|layer   search.ranks=[1,2,4,8,16,32]
  search.parameters=N   no trial has more in its adapters     search.trials=N   runs in all
  search.rungs=[N,…]    optimizer steps: the best 1 in search.keep go on to the next     search.seed=N
  --json   all trials, the best, and what they took
""",
    "plan": f"""\
peftlab plan [WORDS] [--no-estimate] [--json]

  peftlab plan sweep=beyond_lora

What would run and what is left out, with GPU memory and time of every cell. No run is written or started.

{WORDS}
  --no-estimate   without memory and time: nothing is counted that was not counted before
""",
    "status": f"""\
peftlab status [SWEEP] [--watch] [--runs DIR] [--json]

Every planned run: done, running, pending, failed (why), skipped (why). Without SWEEP: all sweeps.

{SWEEP}\
  --watch       again every two seconds, until nothing runs or waits
""",
    "explain": f"""\
peftlab explain RUN | WORDS [--json]

  peftlab explain method=lora model=vit_micro dataset=digits seed=3

  RUN   an id or its beginning, as `peftlab status --json` lists them

{WORDS}""",
    "diff": """\
peftlab diff RUN RUN [runs=DIR] [--json]

  RUN   an id or its beginning, as `peftlab status --json` lists them
""",
    "retry": """\
peftlab retry SWEEP|RUN [--failed KIND] [--runs DIR] [--json]

The records of failed runs are set aside, so that the next `peftlab sweep` does the runs again.

  --failed KIND   only oom, diverged, data, exception, interrupt, timeout or node
""",
    "cancel": f"""\
peftlab cancel [SWEEP] [--runs DIR] [--json]

Ends its SLURM jobs and local runs. They keep their checkpoints: the next `peftlab sweep` goes on from them.

{SWEEP}""",
    "logs": """\
peftlab logs RUN [-f] [--runs DIR]

  RUN            an id, or its beginning
  -f, --follow   go on until the run has its record, or has stopped
""",
    "sync": """\
peftlab sync [runs=DIR] [--json]

Uploads the offline W&B runs of finished runs, each once.
""",
    "report": f"""\
peftlab report SWEEP [--from wandb PROJECT] [--runs DIR] [--out DIR] [--partial] [--allow-mixed] [--json]

{SWEEP}\
  --out DIR     where the page, tables and figures go: DIR/SWEEP (default: report)
  --partial     show holes instead of refusing an incomplete sweep
  --allow-mixed show different environments as blocks of their own instead of refusing them
  --from wandb PROJECT   records from W&B instead of the runs folder
""",
    "compare": """\
peftlab compare TABLE [--metric NAME] [--direction max|min] [--control METHOD] [--json]

  peftlab compare analysis/published/beyond_lora_table2.csv
  peftlab compare table.tex --metric=accuracy --control=LoRA

  TABLE              CSV, Markdown or LaTeX with the columns model, dataset, method, metric, value; or a wide one
  --metric NAME      what a wide table holds
  --direction WAY    max or min, for a metric whose name is not known
  --control METHOD   test the others against it alone: fewer comparisons than all pairs
""",
    "advise": """\
peftlab advise [--max-gb N] [--max-hours N] [task=… model=… dataset=… method=…] [--runs DIR] [--json]

  peftlab advise --max-gb 24 --max-hours 2 task=text

  --max-gb N      peak memory while training, in 10^9 bytes
  --max-hours N   wall-clock hours of a run
""",
    "audit": f"""\
peftlab audit SWEEP [--runs DIR] [--json]

Exit code 1 when something is suspicious.

{SWEEP}""",
    "probe": """\
peftlab probe [method=… model=… KEY=VALUE …] [--json]

  peftlab probe method=lora,cla,paca model=roberta_base layers=4 batch=16 length=128 targets=all
  peftlab probe method=lora model=llama3_8b counts=true

Weights come from the model's card alone: nothing is downloaded.

  batch=16 length=128 layers=N     the shape (layers: all of the model's)
  targets=[q,v]|all                instead of each method's own
  steps=100 warmup=20 rounds=10    timed steps of each method, in rounds over all methods
  counts=true                      ledger, parameters and FLOPs alone, from shapes: no weights, no time
  peft=false                       without LoRA and DoRA of the peft library
  device= precision= seed=
""",
    "export": """\
peftlab export RUN DIR [runs=DIR] [--json]

A standard PEFT adapter: adapter_config.json and adapter_model.safetensors, for peft.PeftModel.from_pretrained.
""",
    "merge": """\
peftlab merge RUN DIR [runs=DIR] [--json]

A plain model folder, the update in its weights, for from_pretrained of transformers.
""",
    "squeeze": """\
peftlab squeeze ADAPTER_DIR OUT_DIR --rank N | --keep SHARE [--uniform] [--backend qr|exact|randomised] [--json]

  peftlab squeeze my_adapter my_adapter_r8 --rank 8
  peftlab squeeze my_adapter small --keep 0.95

The closest adapter of a lower rank, by singular values: a PEFT LoRA folder, with squeeze.csv and spectrum.png.

  --rank N       the rank of every module (of those above it)
  --keep SHARE   of the variance (squared singular values): each module takes the rank that keeps it
  --uniform      with --keep: one rank for all, that of the module that needs most
  --backend      qr never forms the product and is exact; exact and randomised (Algorithm 1 of LoRA-Squeeze) form it
""",
    "recommend-rank": f"""\
peftlab recommend-rank model=NAME [dataset=NAME] [WORDS] [--energy SHARE] [--json]
peftlab recommend-rank --from RUN [--energy SHARE] [--json]
peftlab recommend-rank sweep=rank_recommend

  peftlab recommend-rank model=minilm dataset=stdlib_docs recipe=quick_text
  peftlab recommend-rank --from 3cfba37c --energy 0.95

The rank of each weight that holds a share of its spectrum (Σ s, and Σ s²), of the first gradient's and of a trained
wide adapter's, and the rank that the information bottleneck prefers; with a picture, and what the store's sweep
rank_recommend says of how good such advice was. Of data, train alone is read.

  --energy SHARE   that a rank has to hold (default: 0.9)
  --from RUN       a finished run of a low-rank method: its model, data and adapter; the answer is also kept beside it
  sweep=NAME       one for the widest run of the first seed of each model and dataset
  --runs DIR       the same as runs=DIR

{WORDS}""",
    "show": """\
peftlab show dataset=NAME[,NAME …] [--json]

Source, sizes, classes, and the first three training examples as encoders and decoders read them.
""",
    "fetch": """\
peftlab fetch sweep=NAME | model=… dataset=… [--mirror DIR] [--json]

Downloads every model, tokenizer and dataset at its revision into the hub's cache; started again, it goes on.

  --mirror DIR   also a tree of plain files for PEFTLAB_MIRROR
""",
    "doctor": """\
peftlab doctor [sweep=NAME | WORDS] [--json]

Packages, GPU, disk, hub, token, SLURM and W&B: what this machine has, and what the sweep needs.
""",
}


def usage(verb: str) -> str:
    """How a verb is called; for verbs that take config words, also what there is to choose from."""
    text = USAGE[verb]
    return text.replace(WORDS, WORDS + _choices()) if WORDS in text else text


def _choices() -> str:
    groups = {group: ", ".join(choices(group)) for group in GROUPS}
    return "".join(
        textwrap.fill(f"  {group + '=':<9} {names}", 118, subsequent_indent=" " * 12) + "\n"
        for group, names in groups.items()
    )
