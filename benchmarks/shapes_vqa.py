"""Whether dataset=shapes_vqa tells methods apart: right answers by kind of question, and of a control that is blind.

The blind control is LoRA on the same model with its projector at zero: all images look alike to it, so it can learn
which answers are frequent and no more. `python -m benchmarks.shapes_vqa > benchmarks/results/shapes_vqa.md`.
"""

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

import harness.training.run as runs
from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.data.builtin.shapes_vqa import KINDS, build
from harness.ledger.parse import parse
from harness.ledger.seeds import Seeds
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store
from harness.models.load import load_model
from harness.models.loaded import LoadedModel
from harness.planning.plan import plan_one, read_request
from harness.tasks.build import build as build_task

Shares = dict[str, float]  # kind of question -> share of right answers
SMALL = ("method=lora", "method.update.rank=8", "method.update.alpha=16")
ALL = (*SMALL, "method.targets=[q,k,v,o,gate,up,down]")
TRAINED: Mapping[str, tuple[Sequence[str], bool]] = {  # words, and whether the model sees
    "LoRA r 8, all linears": (ALL, True),
    "LoRA r 8, q and v": (SMALL, True),
    "full fine-tuning of the language model": (("method=full",), True),
    "LoRA r 8, all linears, projector at zero": (ALL, False),
}


def main() -> int:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = {name: answered(words, Path(folder), sees=sees) for name, (words, sees) in TRAINED.items()}
    first = next(iter(rows.values()))
    print("# Questions about shapes\n")
    print(
        "`python -m benchmarks.shapes_vqa`: model=gemma3_micro, recipe=quick_vision_language (400 steps of 32), seed 0;"
    )
    print("share of right answers on the test split, about 300 questions of each kind (standard error about .02).\n")
    print(f"| | {' | '.join(KINDS)} |\n|---|{'--:|' * len(KINDS)}")
    tables = {"majority": first["majority"], "not trained": first["base"]}
    for name, shares in (tables | {name: row["right"] for name, row in rows.items()}).items():
        print(f"| {name} | {' | '.join(f'{shares[kind]:.3f}' for kind in KINDS)} |")
    return 0


def answered(words: Sequence[str], folder: Path, *, sees: bool = True) -> dict[str, Shares]:
    """{"right", "majority", "base"} on a run's test split: its answers, the most frequent ones, and those of the model
    before training. sees=False: with the model's projector at zero."""
    fixed = ("model=gemma3_micro", "dataset=shapes_vqa", "recipe=quick_vision_language", "tracker=none", "device=cpu")
    request = read_request([*fixed, *words, f"runs={folder / ('seeing' if sees else 'blind')}"])
    settings = settings_from(request.config)
    planned, store = plan_one(request, Resolver()), Store(settings.runs)
    runs.load_model = load_model if sees else blind  # type: ignore[assignment]
    try:
        record = runs.run_one(planned, store, settings)
    finally:
        runs.load_model = load_model
    assert record.status == "done", record.failure
    spec = parse(RunSpec, planned.spec, "run")
    every = build(planned.spec["dataset"]["source"]["options"])["train"]
    kept = pq.read_table(store.paths(planned.id).predictions).to_pylist()
    asked = [every[int(row["id"].rpartition(":")[2])] for row in kept]
    most = {kind: Counter(row["answer"] for row in asked if row["kind"] == kind).most_common(1)[0][0] for kind in KINDS}
    return {
        "right": _shares(asked, [row["prediction"] for row in kept]),
        "majority": _shares(asked, [most[row["kind"]] for row in asked]),
        "base": _shares(asked, _not_trained(spec, settings.cache, asked)),
    }


def blind(*args: Any) -> LoadedModel:
    """`load_model`, with the projector at zero: no image reaches the language model."""
    loaded = load_model(*args)
    loaded.model.get_submodule("model.multi_modal_projector").mm_input_projection_weight.data.zero_()  # type: ignore
    return loaded


@torch.no_grad()
def _not_trained(spec: RunSpec, cache: Path, asked: Sequence[Mapping[str, Any]]) -> list[str]:
    loaded = load_model(spec.model, spec.dataset.task, Seeds(spec.seed), cache)
    task = build_task(spec.dataset, loaded)
    batch = task.collate([{"id": str(i), **task.encode(row)} for i, row in enumerate(asked)], None)
    return [str(prediction.prediction) for prediction in task.predict(loaded.model, batch)]


def _shares(asked: Sequence[Mapping[str, Any]], answers: Sequence[str]) -> Shares:
    right = {
        kind: [a == row["answer"] for row, a in zip(asked, answers, strict=True) if row["kind"] == kind]
        for kind in KINDS
    }
    return {kind: sum(outcomes) / len(outcomes) for kind, outcomes in right.items()}


if __name__ == "__main__":
    raise SystemExit(main())
