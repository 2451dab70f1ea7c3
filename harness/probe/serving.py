"""What it takes to serve a PEFT adapter: unmerged, merged, at lower ranks, and switched from request to request.

What has no merge, as a learned prompt, is held against the base model alone. All ways take turns in every round, in a
new order, so that drift is shared. A request is a batch of random tokens (or images); of a language model, prefill is
its prompt and decode the tokens that are written one by one behind it.
"""

import copy
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor, nn

from harness.ledger.life import Say
from harness.measure.clocks import synchronise
from harness.measure.contention import Contention
from harness.models.config import text_config
from harness.probe.result import paired_ratio

BASE, MERGED, UNMERGED, SWITCHED = "base model", "merged", "unmerged", "two, switched"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class ServeOptions:
    """The verb's own keys."""

    ranks: tuple[int, ...] | None = None  # null: the adapter's own, halved down to 1
    batch: int = field(default=1, metadata={"min": 1, "max": 2**16})
    length: int = field(default=64, metadata={"min": 1, "max": 2**20})  # tokens of a prompt; images have their own
    new_tokens: int = field(default=16, metadata={"min": 1, "max": 2**16})
    rounds: int = field(default=20, metadata={"min": 2, "max": 10**6})


@dataclass(frozen=True)
class Request:
    """What is sent. `writes`: whether tokens are written behind it."""

    inputs: Mapping[str, Tensor]
    writes: bool
    options: ServeOptions


@dataclass(frozen=True)
class Way:
    """One way to serve: the model that answers, and what must be done before each request, which is timed."""

    model: nn.Module
    name: str | None  # of the adapter that is active
    switches: tuple[str, ...] = ()


def request_for(model: Any, options: ServeOptions, writes: bool, device: torch.device) -> Request:
    """A batch drawn from a fixed seed."""
    draw, config = torch.Generator().manual_seed(0), text_config(model.config)
    if hasattr(config, "image_size"):
        shape = (options.batch, config.num_channels, config.image_size, config.image_size)
        return Request({"pixel_values": torch.randn(shape, generator=draw).to(device)}, False, options)
    ids = torch.randint(5, config.vocab_size, (options.batch, options.length), generator=draw)
    return Request({"input_ids": ids.to(device), "attention_mask": torch.ones_like(ids).to(device)}, writes, options)


def with_adapters(base: nn.Module, folders: Mapping[str, Path]) -> PeftModel:
    """A copy of the base with every adapter loaded under its name; the first is active."""
    (first, folder), *others = folders.items()
    model = PeftModel.from_pretrained(copy.deepcopy(base), str(folder), adapter_name=first)  # type: ignore[arg-type]
    for name, other in others:
        model.load_adapter(str(other), adapter_name=name)
    if has_prompt(model):
        model.register_forward_hook(_of_text, with_kwargs=True)
    return model.eval()


def has_prompt(model: nn.Module) -> bool:
    return isinstance(model, PeftModel) and model.active_peft_config.is_prompt_learning


def _of_text(_: nn.Module, args: tuple[Any, ...], given: dict[str, Any], output: Any) -> Any:
    """A language model's logits without those of the learned tokens, as the tasks read them."""
    if output.logits.dim() == 3:
        output.logits = output.logits[:, -given["input_ids"].shape[1] :]
    return output


def merged(base: nn.Module, folder: Path) -> nn.Module:
    """A copy of the base with the adapter in its weights."""
    return with_adapters(base, {"default": folder}).merge_and_unload().eval()


def serve(
    base: nn.Module, folder: Path, lower: Mapping[str, Path], request: Request, say: Say = lambda words: None
) -> tuple[list[dict[str, Any]], str | None]:
    """A row for each way, as plain data: its times of every round and their ratios to the merged model's; and why the
    times may not be compared with others, where they may not."""
    live = with_adapters(base, {UNMERGED: folder, "second": folder, **lower})
    floor = {MERGED: merged(base, folder)} if merges(base, folder) else {BASE: base}
    ways = {name: Way(model, None) for name, model in floor.items()} | {UNMERGED: Way(live, UNMERGED)}
    ways |= {name: Way(live, name) for name in lower} | {SWITCHED: Way(live, None, (UNMERGED, "second"))}
    return _served(ways, request, say)


def serve_beside(
    base: nn.Module, tuned: nn.Module, request: Request, say: Say = lambda words: None
) -> tuple[list[dict[str, Any]], str | None]:
    """As `serve`, of a model whose update is no PEFT adapter, and the base model."""
    return _served({BASE: Way(base, None), UNMERGED: Way(tuned.eval(), None)}, request, say)


def _served(ways: Mapping[str, Way], request: Request, say: Say) -> tuple[list[dict[str, Any]], str | None]:
    """The first way is what the others are held against."""
    floor, *_ = ways
    contention = Contention(next(ways[floor].model.parameters()).device)
    times = _timed(ways, request, contention, say)
    rows = [_row(name, times[name], (floor, times[floor]), request) for name in ways]
    return rows, contention.why_not_comparable()


def merges(base: nn.Module, folder: Path) -> bool:
    """Whether the adapter can be put into the weights."""
    try:
        merged(base, folder)
    except (AttributeError, NotImplementedError, ValueError):  # a prompt, or a tuner without a merge
        return False
    return True


@torch.inference_mode()
def _timed(
    ways: Mapping[str, Way], request: Request, contention: Contention, say: Say
) -> dict[str, list[tuple[float, float]]]:
    """(prefill, decode) in ms by round; the first round warms up."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    chance, order = random.Random(0), list(ways)
    say("warm-up")
    _round(ways, order, request, 0)
    with contention.window():
        for number in range(request.options.rounds):
            say(f"round {number + 1} of {request.options.rounds}")
            chance.shuffle(order)
            for name, taken in _round(ways, order, request, number).items():
                times[name].append(taken)
    return times


def _round(ways: Mapping[str, Way], order: Sequence[str], request: Request, number: int) -> dict[str, Any]:
    taken = {}
    for name in order:
        way = ways[name]
        model: Any = way.model
        if way.name is not None:
            model.set_adapter(way.name)
        before = (lambda: None) if not way.switches else lambda: model.set_adapter(way.switches[number % 2])  # noqa: B023
        taken[name] = _answered(model, request, before)
    return taken


def _answered(model: Any, request: Request, before: Callable[[], None]) -> tuple[float, float]:
    device = next(model.parameters()).device
    synchronise(device)
    start = time.perf_counter()
    before()
    out = model(**request.inputs, **({"use_cache": True} if request.writes else {}))
    synchronise(device)
    read = time.perf_counter()
    if not request.writes:
        return 1e3 * (read - start), 0.0
    inner = model.get_base_model() if has_prompt(model) else model  # the prompt is in the cache now
    for _ in range(request.options.new_tokens):
        token = out.logits[:, -1:].argmax(-1)
        out = inner(input_ids=token, past_key_values=out.past_key_values, use_cache=True)
    synchronise(device)
    return 1e3 * (read - start), 1e3 * (time.perf_counter() - read) / request.options.new_tokens


def _row(name: str, times: Sequence[Any], floor: tuple[str, Sequence[Any]], request: Request) -> dict[str, Any]:
    parts = {"prefill": 0, "decode": 1} if request.writes else {"prefill": 0}
    row: dict[str, Any] = {"way": name}
    for part, place in parts.items():
        ms, reference = [t[place] for t in times], [t[place] for t in floor[1]]
        low, middle, high = (float(v) for v in np.percentile(ms, (5, 50, 95)))
        tokens = next(iter(request.inputs.values())).shape[:2].numel() if part == "prefill" and request.writes else None
        each = tokens or request.options.batch
        row[part] = {
            "ms": ms, "median_ms": middle, "p5_ms": low, "p95_ms": high,
            "per_second": 1e3 * each / middle, over(floor[0]): vars(paired_ratio(ms, reference)),
        }  # fmt: skip
    return row


def over(floor: str) -> str:
    """The key of a ratio to the way that is called `floor`."""
    return f"over_{floor.replace(' ', '_')}"


@torch.inference_mode()
def merge_errors(base: nn.Module, folder: Path, request: Request) -> dict[str, dict[str, float]]:
    """By dtype of the weights: the largest error of a logit, unmerged and merged, over the largest exact logit.

    Exact: unmerged in float32.
    """
    base.float()  # for good: what is rounded to bfloat16 below comes from there, and goes back unchanged
    exact = with_adapters(base, {"default": folder})(**request.inputs).logits
    errors: dict[str, dict[str, float]] = {}
    built = _built(base, folder)
    for name, dtype in DTYPES.items():
        errors[name] = {}
        for way, build in built.items():
            logits = build(copy.deepcopy(base).to(dtype), folder)(**_cast(request.inputs, dtype)).logits.float()
            errors[name][way] = float((logits - exact).abs().max() / exact.abs().max())
    return errors


_BUILT: Mapping[str, Callable[[nn.Module, Path], nn.Module]] = {
    UNMERGED: lambda base, folder: with_adapters(base, {"default": folder}),
    MERGED: merged,
}


def _built(base: nn.Module, folder: Path) -> Mapping[str, Callable[[nn.Module, Path], nn.Module]]:
    return _BUILT if merges(base, folder) else {UNMERGED: _BUILT[UNMERGED]}


def scores(base: nn.Module, folder: Path, scored: Callable[[nn.Module, str], float]) -> dict[str, dict[str, float]]:
    """By dtype of the weights: the score of the test split, unmerged and merged; bfloat16 is under autocast."""
    built = _built(base, folder)
    return {
        name: {way: scored(build(copy.deepcopy(base).to(dtype), folder), name) for way, build in built.items()}
        for name, dtype in DTYPES.items()
    }


def _cast(inputs: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: x.to(dtype) if x.is_floating_point() else x for name, x in inputs.items()}
