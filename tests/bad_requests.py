"""Requests that must be refused, made by class: fields of specs, choices, verbs, flags, yaml kinds."""

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from itertools import chain
from typing import Any, Literal, Union, get_args, get_origin

from harness.cli.commands import VERBS
from harness.config.groups import GROUPS
from harness.config.keys import key_paths
from harness.config.overrides import parse_words
from harness.config.resolve import Resolver
from harness.execution.local_cluster import LocalCluster
from harness.planning.plan import expand
from harness.probe.request import Options
from slurm.cluster_spec import SlurmCluster

PLAN = ["plan", "--no-estimate", "--json"]
CELL = {"method": "lora", "model": "vit_micro", "dataset": "digits", "recipe": "default"}
CARDS = {  # together they hold every kind of update, schedule, source and task
    "method": ("lora", "cla", "ba_sparse_fix_mask", "ia3", "full", "head"),
    "model": ("minilm", "vit_micro"),
    "dataset": ("trec50", "digits", "stsb", "kinship_choice", "kinship_lm", "e2e_generation"),
    "recipe": ("default",),
}

FINE = {  # head_lr: null is the rate of the adapter; a type of the library that is none is left out, with its sentence
    ("recipe.head_lr", "null"),
    *(("method.update.type", value) for value in ("7", "[a,b]", "null")),
}


@dataclass(frozen=True)
class Bad:
    """A command line that must be refused, and what its sentence must name: each of `names`, as one of its words."""

    argv: tuple[str, ...]
    names: tuple[str | tuple[str, ...], ...]  # a tuple: one of these spellings

    def __str__(self) -> str:
        return " ".join(self.argv)


def cell(**changed: str) -> list[str]:
    return [f"{key}={value}" for key, value in (CELL | changed).items()]


def fields_of_specs() -> Iterator[Bad]:
    """Every field of every part of a run, with values out of its range and of other types."""
    seen: set[tuple[type, str]] = set()
    for axis, names in CARDS.items():
        for name in names:
            (word,) = expand(parse_words([f"{axis}={name}"])[0])
            rates = ("lora", "adapter") if axis == "recipe" else ()
            for key, value in _bad_fields(Resolver().part(axis, [word], rates=rates).spec, axis, seen):
                yield Bad((*PLAN, *cell(**{axis: name}), f"{key}={value}"), (key, _spellings(value)))


def _bad_fields(spec: Any, prefix: str, seen: set[tuple[type, str]]) -> Iterator[tuple[str, str]]:
    hints = typing.get_type_hints(type(spec))
    for field in fields(spec):
        inner = getattr(spec, field.name)
        if is_dataclass(inner):
            yield from _bad_fields(inner, f"{prefix}.{field.name}", seen)
        elif field.name != "about" and (type(spec), field.name) not in seen:
            seen.add((type(spec), field.name))
            key = f"{prefix}.{field.name}"
            yield from (
                (key, value) for value in bad_values(hints[field.name], field.metadata) if (key, value) not in FINE
            )


def bad_values(hint: Any, metadata: Mapping[str, Any]) -> list[str]:
    """What is no value of a field, in Hydra's grammar."""
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    kind = next(kind for kind in kinds if kind is not type(None))
    null = [] if type(None) in kinds or kind is Any else ["null"]
    origin = get_origin(kind)
    if kind in (int, float):
        bounds = [metadata[word] - 1 for word in ("min",) if word in metadata]
        bounds += [metadata[word] + 1 for word in ("max",) if word in metadata]
        bounds += [metadata[word] for word in ("above", "below") if word in metadata]
        return [*map(str, bounds), "inf", "banana", *(null or ["[1,2]"])]
    if kind is bool:
        return ["banana", "2", *null]
    if kind is str:
        return ["7", "[a,b]", *null]
    if origin is Literal:
        return ["banana", "7", *null]
    if origin is tuple:
        least, most = metadata.get("items", (0, None))
        few = ["[]"] if least else []
        many = [f"[{','.join(['0.5'] * (most + 1))}]"] if most and get_args(kind)[0] is float else []
        return ["banana", "{a:1}", *few, *many, *null]
    if kind is Any:
        return []
    return ["banana", "[1]", *null]


def _spellings(value: str) -> tuple[str, ...]:
    """How a sentence may write a value."""
    words = {value, repr(value), {"null": "None"}.get(value, value), value.replace(",", ", ")}
    if value.lstrip("-").replace(".", "").isdigit():
        words.add(str(float(value)))
    if value.startswith("["):
        words |= {repr(value[1:-1].split(",")), "holds 0", "holds 3", "[" + ", ".join(value[1:-1].split(",")) + "]"}
    if value.startswith("{"):
        words.add("{'a': 1}")
    return tuple(words)


def unknown_choices() -> Iterator[Bad]:
    for group in GROUPS:
        for name in ("banana", "loraa", "7", "../../evil", "''"):
            yield Bad((*PLAN, f"{group}={name}"), (group, name.strip("'") or "''"))
    for verb in ("run", "sweep", "explain", "doctor", "fetch", "show"):
        yield Bad((verb, "dataset=banana"), ("dataset", "banana"))
    yield Bad(("probe", "method=banana"), ("method", "banana"))
    yield Bad(("probe", "model=banana"), ("model", "banana"))


def unknown_keys() -> Iterator[Bad]:
    """A key of every part of a run with a letter more, and keys that stand alone."""
    of_parts = {key.rpartition(".")[0]: key for key in key_paths() if "about" not in key and "." in key}
    for key in of_parts.values():
        yield Bad((*PLAN, f"{key}x=1"), (f"{key}x",))
    for key in ("rank", "lr", "epochs", "alpha", "banana", "model.banana.x", "Method", "methods", "tracker.banana"):
        yield Bad((*PLAN, f"{key}=1"), (key,))
    for verb in ("run", "sweep", "explain", "doctor", "fetch", "show", "probe", "sync"):
        yield Bad((verb, "banana=1"), ("banana",))


def words_that_cannot_be_read() -> Iterator[Bad]:
    for word in (
        "=", "=1", "method==lora", "recipe.lr=[1", "recipe.lr={a", "recipe.lr='1", "recipe.lr=(1)", "a b=1",
        "method=lora,",
        "method=,", "lora", "method", "+method=lora", "~method", "method@x=lora", "hydra.run.dir=x", "recipe.lr=1,1",
        "seed=range(0)", "seed=glob(*)", "seed=-1", "seed=1.5", "seed=banana", "seed=99999999999999999999", "seed=null",
        "method=glob(zz*)", "device=cpu,cuda", "recipe.lr=interval(1,2)", "recipe.lr=choice()", "method=[lora,cla]",
        "a:b", "recipe.lr=1=2=[", "é=1", "..=1", "recipe..lr=1", "recipe.=1", "source.seed=1", "source.banana=1",
        "source.method=banana",
    ):  # fmt: skip
        yield Bad((*PLAN, word), ((word, *(part for part in (word.split("=")[0], word.partition("=")[2]) if part)),))


def settings() -> Iterator[Bad]:
    """Operational keys."""
    for key, values in {
        "device": ("banana", "7", "null"), "keep": ("banana", "null"), "isolate": ("banana", "2"),
        "runs": ("7", "null"),
        "report": ("7", "null"), "cache": ("7", "[a]"), "checkpoint_seconds": ("-1", "banana", "inf", "null"),
        "wandb": ("banana", "7"), "wandb.mode": ("banana", "7"),
    }.items():  # fmt: skip
        for value in values:
            yield Bad((*PLAN, f"{key}={value}"), (key, _spellings(value)))


def clusters() -> Iterator[Bad]:
    """Fields of the two cluster cards."""
    for name, kind in (("local", LocalCluster), ("slurm", SlurmCluster)):
        hints = typing.get_type_hints(kind)
        for field in fields(kind):
            if field.name not in ("kind", "about"):
                for value in bad_values(hints[field.name], field.metadata):
                    words = (f"cluster={name}", f"cluster.{field.name}={value}")
                    yield Bad((*PLAN, *words), (f"cluster.{field.name}", _spellings(value)))


def probe_options() -> Iterator[Bad]:
    hints = typing.get_type_hints(Options)
    for field in fields(Options):
        for value in bad_values(hints[field.name], field.metadata):
            if (field.name, value) not in {("targets", "banana"), ("targets", "[]")}:
                yield Bad(("probe", "model=vit_micro", f"{field.name}={value}"), (field.name, _spellings(value)))
    yield Bad(("probe", "model=minilm", "targets=banana"), ("targets", "banana"))
    yield Bad(("probe", "model=minilm", "layers=999"), ("layers", "999"))
    yield Bad(("probe", "rounds=200", "steps=100"), ("rounds", "200"))


def verbs_and_flags() -> Iterator[Bad]:
    for verb in VERBS:
        for flag in ("--banana", "--jsno", "-z"):
            yield Bad((verb, flag), (flag,))
    for word in ("swep", "Run", "lora", "-x", "--verbose", "", "run ", "help me"):
        yield Bad((word,), (word or "''",))


def arguments() -> Iterator[Bad]:
    """What a verb needs and is not given, or is given too often, or in a form that it cannot take."""
    for argv, *names in (
        (["retry"], "sweep"), (["retry", "a", "b"], "b"), (["retry", "a", "--failed"], "--failed"),
        (["retry", "a", "--failed", "banana"], "--failed", "banana"), (["retry", "a", "--runs"], "--runs"),
        (["cancel", "banana=1"], "banana"), (["cancel", "a", "b"], "b"), (["status", "a", "b"], "b"),
        (["status", "banana=1"], "banana"), (["status", "--runs"], "--runs"), (["logs"], "logs"),
        (["logs", "a", "b"], "b"), (["logs", "run="], "run"), (["diff"], "diff"), (["diff", "a"], "diff"),
        (["diff", "a", "b", "c"], "diff"), (["explain", "a", "b"], "explain"), (["export"], "export"),
        (["export", "a"], "export"), (["export", "a", "b", "c"], "export"), (["merge"], "merge"), (["merge", "a"],
        "merge"),
        (["show"], "dataset"), (["show", "seed=1"], "dataset"), (["show", "method=lora", "model=minilm"], "one thing"),
        (["show", "dataset=digits", "method=lora"], "method"), (["show", "method.update.rank=8"], "method"),
        (["list", "banana"], "banana", "methods"), (["list", "methods", "banana"], "banana"), (["fetch"], "fetch"),
        (["new"], "new"), (["new", "banana", "x"], "banana", "dataset"), (["new", "dataset"], "name"),
        (["new", "dataset", "x"], "--from"), (["new", "dataset", "../x", "--from", "t.csv"], "../x"),
        (["new", "dataset", "digits", "--from", "t.csv"], "digits"), (["new", "dataset", "x", "--from", "absent"],
        "absent"), (["new", "dataset", "x", "--from", "folder"], "train"),
        (["new", "dataset", "x", "--from", "empty.csv"], "empty.csv"),
        (["new", "dataset", "x", "--from", "binary.csv"], "binary.csv"),
        (["new", "dataset", "x", "--from", "t.csv"], "rows"), (["new", "dataset", "x", "--from"], "--from"),
        (["new", "dataset", "x", "--from", "t.csv", "dataset.metric=f1"], "dataset.metric"),
        (["new", "method", "x", "recipe.lr=3"], "recipe.lr"), (["new", "method", "x", "--from", "banana"], "banana"),
        (["new", "method", "x", "method.update.rank=0"], "method.update.rank"),
        (["new", "method", "x", "method.update.rank=1,2"], "method.update.rank"),
        (["new", "method", "x", "method.update.rnk=1"], "method.update.rnk"), (["new", "method", "x",
        "method.name=y"], "method.name"), (["new", "method", "x", "--label", "y"], "--label"),
        (["new", "sweep", "x", "banana=1"], "banana"), (["new", "sweep", "x", "method=banana"], "banana"),
        (["new", "sweep", "x", "dataset=banana"], "banana"),
        (["new", "sweep", "x", "--from", "quickstart", "method=lora"], "--from", "method"),
        (["new", "cluster", "x", "cluster.cpus=0"], "cluster.cpus"),
        (["completion"], "bash"), (["completion", "csh"], "csh", "fish"), (["completion", "bash", "zsh"], "zsh"),
        (["check"], "file"), (["check", "absent.yaml"], "absent.yaml"), (["check", "t.csv"], "t.csv"),
        (["check", "conf/dataset/tabbed.yaml"], "line 3"), (["check", "conf/dataset/folder.yaml"], "folder.yaml"),
        (["check", "conf/method/other.yaml"], "other.yaml"), (["check", "conf/recipe/keyed.yaml"], "recipe"),
        (["check", "conf/sweep/s_lr.yaml"], "lr"), (["check", "conf/cluster/keyed.yaml"], "cluster"),
        (["fetch", "model=minilm", "--mirror"], "--mirror"), (["report"], "sweep"), (["report", "a", "b"], "b"),
        (["report", "seed=1"], "seed"), (["report", "a", "--from", "wandb"], "--from"),
        (["report", "a", "--from", "csv", "x"], "--from", "csv"), (["report", "a", "--out"], "--out"),
        (["audit"], "sweep"), (["audit", "a", "b"], "b"), (["advise", "--max-gb", "-1"], "--max-gb", "-1"),
        (["advise", "--max-gb", "0"], "--max-gb", "0"), (["advise", "--max-gb", "inf"], "--max-gb", "inf"),
        (["advise", "--max-gb", "nan"], "--max-gb", "nan"), (["advise", "--max-hours", "banana"], "--max-hours",
        "banana"),
        (["advise", "--max-hours"], "--max-hours"), (["advise", "banana=1"], "banana"), (["advise", "task="], "task"),
        (["advise", "lora"], "lora"), (["compare"], "table"), (["compare", "absent.csv"], "absent.csv"),
        (["compare", "a", "b"], "b"), (["compare", "t.csv", "--direction", "up"], "--direction", "up"),
        (["compare", "t.csv", "--metric"], "--metric"), (["compare", "folder"], "folder"), (["compare", "empty.csv"],
        "empty.csv"),
        (["compare", "binary.csv"], "binary.csv"), (["squeeze"], "adapter"), (["squeeze", "a"], "out"),
        (["squeeze", "a", "b"], "--rank"), (["squeeze", "a", "b", "--rank", "0"], "--rank", "0"),
        (["squeeze", "a", "b", "--rank", "banana"], "--rank", "banana"), (["squeeze", "a", "b", "--keep", "2"],
        "--keep", "2"),
        (["squeeze", "a", "b", "--keep", "nan"], "--keep", "nan"), (["squeeze", "a", "b", "--rank", "2",
        "--uniform"], "--uniform"),
        (["squeeze", "a", "b", "--rank", "2", "--keep", "0.5"], "--rank", "--keep"),
        (["squeeze", "a", "b", "--backend", "banana", "--rank", "2"], "--backend", "banana"),
        (["squeeze", "absent", "out", "--rank", "2"], "absent"), (["squeeze", "a", "folder", "--rank", "2"], "folder"),
        (["probe", "method=lora", "lora"], "lora"), (["doctor", "banana"], "banana"), (["sync", "banana"], "banana"),
        (["run", "method=lora,cla"], "method"), (["run", "sweep=quickstart"], "sweep"), (["run", "quickstart"],
        "sweep"),
        (["plan", "quickstart", "method=paca,banana"], "method", "banana"),
        (["plan", "--no-estimate", "quickstart", "model=gpt2_small"], "gpt2_small"),
    ):  # fmt: skip
        yield Bad(tuple(argv), tuple(names))


def ids() -> Iterator[Bad]:
    """Runs and sweeps that are not there, in a store that holds some."""
    for run in ("banana", "ffffffffffffffff", "../x", "*", "é"):
        for verb in ("explain", "logs", "retry"):
            yield Bad((verb, run), (run,))
        yield Bad(("diff", run, run), (run,))
        yield Bad(("export", run, "out"), (run,))
        yield Bad(("merge", run, "out"), (run,))
    for sweep in ("banana", "../../evil", ".hidden", "a/b", "é"):
        for verb in ("status", "cancel", "report", "audit"):
            yield Bad((verb, f"sweep={sweep}"), (sweep,))


FILES = {  # name -> what the file holds; all of them under PEFTLAB_CONF
    "tabbed": b"name: tabbed\nabout:\n\tlabel: x\n", "empty": b"", "listed": b"- 1\n- 2\n", "number": b"7\n",
    "broken": b"name: [broken\n", "binary": b"\x00\xff\xfe", "latin": "name: latin\nx: é\n".encode("latin-1"),
    "twice": b"name: twice\nname: twice\n", "anchor": b"name: *nowhere\n", "other": b"name: another\n",
    "unnamed": b"about: {}\n", "keyed": b"name: keyed\nbanana: 1\n", "tagged": b"name: !!python/object:os.system x\n",
}  # fmt: skip


def yamls() -> Iterator[Bad]:
    """A broken file of every kind of config."""
    for group in GROUPS[:-1]:
        for name in FILES:
            if (group, name) not in {("cluster", "keyed"), ("sweep", "keyed")}:
                yield Bad((*PLAN, f"{group}={name}"), ((f"{group}/{name}.yaml", f"{group}.banana", f"{group}: "),))
        yield Bad((*PLAN, f"{group}=folder"), (group, "folder"))


SWEEPS = {  # name -> what stands in the sweep's yaml beside its name, and what the sentence names
    "no_list": ("grids: 7", "grids"), "no_mapping": ("grids: [7]", "grids"),
    "axis": ("grids: [{banana: [1]}]", "banana"),
    "choice": ("grids: [{method: [banana]}]", "banana"), "seed": ("grids: [{seed: [1]}]", "seed"),
    "seeds": ("seeds: [-1]", "seeds"), "no_seeds": ("seeds: []", "seeds"), "seed_text": ("seeds: [a]", "seeds"),
    "zip": ("grids: [{zip: [7]}]", "zip"), "zip_key": ("grids: [{zip: [{banana: 1}]}]", "banana"),
    "zip_list": ("grids: [{zip: 7}]", "zip"),
    "where": ("grids: [{method: [lora]}]\nexclude: [{where: {banana: 1}, because: x}]", "banana"),
    "because": ("grids: [{method: [lora]}]\nexclude: [{where: {method: lora}}]", "because"),
    "set": ("grids: [{method: [lora]}]\nset: [{where: {method: lora}, set: {banana: 1}}]", "banana"),
    "never": ("grids: [{method: [lora]}]\nset: [{where: {method: cla}, set: {recipe.epochs: 1}}]", "cla"),
    "never_out": ("grids: [{method: [lora]}]\nexclude: [{where: {method: cla}, because: x}]", "cla"),
    "control": ("grids: [{method: [lora]}]\ncontrol: cla", "cla"), "control_kind": ("control: 7", "control"),
    "margin": ("margin: -1", "margin"), "margin_inf": ("margin: .inf", "margin"), "tune": ("tune: 7", "tune"),
    "tune_key": ("tune: {into: x}", "base"),
    "tune_path": ("grids: [{method: [lora]}]\ntune: {into: ../../evil, base: default}", "../../evil"),
    "tune_base": ("grids: [{method: [lora]}]\ntune: {into: x, base: banana}", "banana"),
    "diagnose": ("diagnose: 7", "diagnose"), "diagnose_rows": ("diagnose: {kinds: [bounds], rows: 0}", "rows"),
    "diagnose_kind": ("grids: [{method: [lora]}]\ndiagnose: {kinds: [banana]}", "banana"),
    "title": ("title: 7", "title"), "no_grids": ("title: x", "grids"),
    "empty_axis": ("grids: [{method: []}]", "method"),
    "twice": ("grids: [{method: [lora, lora]}]", "lora"), "unknown": ("banana: 1", "banana"),
    "null_axis": ("grids: [{method: null}]", "method"), "lr": ("grids: [{recipe.lr: [-1]}]", "lr"),
    "source": ("grids: [{source.banana: [1]}]", "banana"),
    "none_left": ("grids: [{method: [lora]}]\nexclude: [{where: {method: lora}, because: 7}]", "because"),
}  # fmt: skip


def sweeps() -> Iterator[Bad]:
    for name, (_, key) in SWEEPS.items():
        yield Bad((*PLAN, f"sweep=s_{name}"), (key,))


def layouts() -> Iterator[Bad]:
    """Runs of several processes that cannot be."""
    two = ("parallel=ddp", "processes=2")
    for words in (
        ("parallel=ddp",),
        ("processes=2",),
        ("parallel=none", "processes=2"),
        ("parallel=fsdp", "processes=1"),
    ):
        yield Bad((*PLAN, *cell(), *words), ("parallel", "processes"))
    yield Bad((*PLAN, *cell(method="autolora"), *two), ("autolora", "parallel=none"))
    sharded = ("parallel=fsdp", "processes=2")
    packed = ("model.quantization=nf4", "model.double_quantization=false")
    for verb in ("run", "sweep", "plan"):
        yield Bad((verb, *cell(), *packed, *sharded), ("parallel=fsdp", "nf4", "parallel=ddp"))
    written = cell(model="tinyllama", dataset="e2e_generation")
    yield Bad((*PLAN, *written, *sharded), ("parallel=fsdp", "e2e_generation", "parallel=ddp"))
    moments = cell(method="full", recipe="squeeze_gemma_adafactor")
    yield Bad((*PLAN, *moments, *sharded), ("parallel=fsdp", "adafactor", "adamw"))


def everything() -> Iterator[Bad]:
    yield from chain(
        fields_of_specs(), unknown_choices(), unknown_keys(), words_that_cannot_be_read(), settings(), clusters(),
        probe_options(), verbs_and_flags(), arguments(), ids(), yamls(), sweeps(), layouts(),
    )  # fmt: skip
