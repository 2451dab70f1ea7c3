"""LoRA-Squeeze of an 8B model's adapter: time against dense SVD and against the peft library, and peak memory.

The adapter is synthetic: 32 layers of the seven linear modules of Llama-3-8B at rank 64, squeezed to rank 8. Each path
is timed on each distinct shape of a layer, interleaved; all layers have the same shapes, so a layer's ratio is the
adapter's. `python -m benchmarks.squeeze > benchmarks/results/squeeze.md`; some ten minutes, of dense SVDs.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any, cast

import peft
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from harness.measure.environment import provenance
from methods.compress import compress

LAYERS, RANK, TARGET = 32, 64, 8
MODULES = {  # out, in
    "self_attn.q_proj": (4096, 4096), "self_attn.k_proj": (1024, 4096), "self_attn.v_proj": (1024, 4096),
    "self_attn.o_proj": (4096, 4096), "mlp.gate_proj": (14336, 4096), "mlp.up_proj": (14336, 4096),
    "mlp.down_proj": (4096, 14336),
}  # fmt: skip
SHAPES = {
    (1024, 4096): ("k, v", 3),
    (4096, 4096): ("q, o", 1),
    (14336, 4096): ("gate, up", 1),
    (4096, 14336): ("down", 1),
}
OURS, DENSE = "QR core", "dense SVD"
CONVERT, THIN, FULL = "`peft.convert_to_lora`", "`add_weighted_adapter`, thin", "`add_weighted_adapter`, default"
GOAL, PEFT_GOAL, MEMORY_GOAL = 20.0, 1.0, 2e9
Seconds = dict[str, float]  # path -> CPU seconds
HEAD = f"""# LoRA-Squeeze of an 8B model's adapter

`python -m benchmarks.squeeze`: {LAYERS} layers of {len(MODULES)} modules, rank {RANK} to {TARGET}.
CPU time of one thread, as a multiple of the QR core's.
All paths in turn, each held against our product; the dense ones once on each shape (three times on k, v) and not in
each of the {LAYERS} layers: layers have equal shapes, so that a layer's ratio is the adapter's.
"""
BETWEEN = """
`add_weighted_adapter` (`combination_type="svd"`) is given a second adapter that is zero: of one alone peft makes a
linear combination of the old rank. Thin: `svd_full_matrices=False`; the default takes longer still, and 14336² numbers
of memory where there are so many outputs: there it was not timed. Its other types that end in svd do the same and
prune; the rest keep the rank.

`peftlab squeeze` on the whole adapter on disk: it reads, squeezes, writes and draws. Beside it dense SVD alone, as the
layer's time above, in each of the layers.

| weights | file (MB) | peak resident set (GB) | dense SVD |
|---|--:|--:|--:|"""
# The resident set's peak is the process's own only where /proc says it: ru_maxrss begins with the parent's.
COMMAND = """
import sys, time
from harness.__main__ import main
code = main(sys.argv[1:])
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(code, time.process_time(), 1024 * int(status["VmHWM"].split()[0]))
"""


def main() -> int:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # peft advises against converting LoRA to LoRA
    times = {shape: _times(*shape, rounds) for shape, (_, rounds) in SHAPES.items()}
    layer = {path: sum(times[shape][path] for shape in MODULES.values()) for path in (OURS, DENSE, CONVERT, THIN)}
    whole = {dtype: _whole(dtype) for dtype in (torch.bfloat16, torch.float32)}
    _print(times, layer, whole)
    met = {
        f"at least {GOAL:.0f} × as fast as dense SVD, module for module": min(_ratios(times, DENSE)) >= GOAL,
        f"at least {PEFT_GOAL:.0f} × as fast as every path of peft": min(
            ratio for path in (CONVERT, THIN, FULL) for ratio in _ratios(times, path)
        )
        >= PEFT_GOAL,
        f"peak below {MEMORY_GOAL / 1e9:.0f} GB": max(peak for _, peak, _ in whole.values()) < MEMORY_GOAL,
    }
    print("\n" + "\n".join(f"* {'met' if good else 'MISSED'}: {goal}" for goal, good in met.items()))
    return 0 if all(met.values()) else 1


def _times(out: int, width: int, rounds: int) -> Seconds:
    """Median CPU seconds of each path on a module of this shape, in rounds of all of them in an order drawn anew.

    Raises AssertionError where a path's product is not ours.
    """
    b, a = _factors(out, width, torch.float32)
    best = compress(b, a, TARGET)
    paths = _paths(b, a, full=out <= width / 2)
    seconds: dict[str, list[float]] = {path: [] for path in paths}
    for _ in range(rounds):
        for path in random.sample(list(paths), len(paths)):
            # ours before and after each of the others: it is over in milliseconds
            seconds[OURS] += [_timed(paths[OURS])[0] for _ in range(3)]
            elapsed, (small_b, small_a) = _timed(paths[path])
            seconds[path].append(elapsed)
            _assert_equal(best.b, best.a, small_b, small_a)
    return {path: median(values) for path, values in seconds.items()}


def _timed(path: Callable[[], tuple[Tensor, Tensor]]) -> tuple[float, tuple[Tensor, Tensor]]:
    start = time.process_time()
    factors = path()
    return time.process_time() - start, factors


def _assert_equal(b: Tensor, a: Tensor, other_b: Tensor, other_a: Tensor) -> None:
    """By products with some vectors: the matrices themselves are large."""
    x = torch.randn(a.shape[1], 4)
    ours, theirs = b @ (a @ x), other_b @ (other_a @ x)
    assert torch.linalg.norm(ours - theirs) < 1e-3 * torch.linalg.norm(ours)


def _paths(b: Tensor, a: Tensor, full: bool) -> Mapping[str, Callable[[], tuple[Tensor, Tensor]]]:
    """Every way to the best product of the target rank. full: also peft's with full matrices, its default."""

    def ours() -> tuple[Tensor, Tensor]:
        small = compress(b, a, TARGET)
        return small.b, small.a

    def dense() -> tuple[Tensor, Tensor]:
        u, s, vt = torch.linalg.svd(b @ a, full_matrices=False)
        return u[:, :TARGET] * s[:TARGET], vt[:TARGET]

    model = _peft_model(b, a)
    paths = {OURS: ours, DENSE: dense, CONVERT: lambda: _converted(model), THIN: lambda: _weighted(model, False)}
    return paths | ({FULL: lambda: _weighted(model, True)} if full else {})


def _peft_model(b: Tensor, a: Tensor) -> Any:
    """One linear layer with this adapter, and an adapter that is zero: of one alone, peft ignores `svd_rank`."""
    with torch.device("meta"):
        base = nn.Sequential(nn.Linear(a.shape[1], b.shape[0], bias=False))
    config = peft.LoraConfig(r=RANK, lora_alpha=RANK, target_modules=["0"])
    model = peft.get_peft_model(base.to_empty(device="cpu"), config)
    model.add_adapter("zero", peft.LoraConfig(r=1, lora_alpha=1, target_modules=["0"]))
    module = cast(Any, model.base_model.model)[0]
    module.lora_A["default"].weight.data, module.lora_B["default"].weight.data = a.clone(), b.clone()
    return model


def _converted(model: Any) -> tuple[Tensor, Tensor]:
    _, tensors = peft.convert_to_lora(model, TARGET)
    a, b = (next(tensor for name, tensor in tensors.items() if kind in name) for kind in ("lora_A", "lora_B"))
    return b, a


@torch.no_grad()
def _weighted(model: Any, full: bool) -> tuple[Tensor, Tensor]:
    model.add_weighted_adapter(["default", "zero"], [1.0, 0.0], "small", "svd", svd_rank=TARGET, svd_full_matrices=full)
    module = cast(Any, model.base_model.model)[0]
    factors = module.lora_B["small"].weight.data.clone(), module.lora_A["small"].weight.data.clone()
    model.delete_adapter("small")
    return factors


def _factors(out: int, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Factors whose product has a spectrum that decays, as those of trained adapters do."""
    rng = torch.Generator().manual_seed(0)
    b, a = (torch.randn(*shape, generator=rng) for shape in ((out, RANK), (RANK, width)))
    return (b * 0.9 ** torch.arange(RANK)).to(dtype), a.to(dtype)


def _whole(dtype: torch.dtype) -> tuple[float, float, float]:
    """Of `peftlab squeeze` on the whole adapter, in its own process: CPU seconds, peak resident bytes, file size."""
    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "adapter"
        source.mkdir()
        _write_adapter(source, dtype)
        size = (source / "adapter_model.safetensors").stat().st_size
        words = ["squeeze", str(source), f"{place}/small", "--rank", str(TARGET)]
        done = subprocess.run([sys.executable, "-c", COMMAND, *words], check=True, stdout=subprocess.PIPE, text=True)
    code, seconds, peak = done.stdout.split("\n")[-2].split()
    assert code == "0"
    return float(seconds), float(peak), float(size)


def _write_adapter(folder: Path, dtype: torch.dtype) -> None:
    """The synthetic adapter; every layer has the same factors."""
    tensors = {}
    for name, shape in MODULES.items():
        b, a = _factors(*shape, dtype)
        for layer in range(LAYERS):
            path = f"base_model.model.model.layers.{layer}.{name}"
            tensors |= {f"{path}.lora_A.weight": a.clone(), f"{path}.lora_B.weight": b.clone()}
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "bias": "none", "target_modules": "all-linear"}
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config))


def _ratios(times: Mapping[tuple[int, int], Seconds], path: str) -> list[float]:
    """How many times as long the path takes as ours, on the shapes that it was timed on."""
    return [seconds[path] / seconds[OURS] for seconds in times.values() if path in seconds]


def _print(times: Mapping[tuple[int, int], Seconds], layer: Seconds, whole: Mapping[torch.dtype, Any]) -> None:
    facts = provenance("cpu")
    versions = ", ".join(f"{name} {facts['packages'][name]}" for name in ("torch", "peft", "safetensors"))
    print(HEAD)
    print(f"{facts['device']['name']}; {versions}; python {facts['python']}\n")
    columns = [f"{name} ({out} × {width})" for (out, width), (name, _) in SHAPES.items()]
    print(f"| | {' | '.join(columns)} | a layer |\n|---|{'--:|' * (len(SHAPES) + 1)}")
    milliseconds = [f"{1e3 * seconds:.1f} ms" for seconds in (*(t[OURS] for t in times.values()), layer[OURS])]
    print(f"| {OURS} (this project) | {' | '.join(milliseconds)} |")
    for path in (DENSE, CONVERT, THIN, FULL):
        cells = [f"× {t[path] / t[OURS]:,.0f}" if path in t else "–" for t in (*times.values(), layer)]
        print(f"| {path} | {' | '.join(cells)} |")
    print(BETWEEN)
    for dtype, (seconds, peak, size) in whole.items():
        ratio = LAYERS * layer[DENSE] / seconds
        print(f"| {str(dtype).removeprefix('torch.')} | {size / 1e6:.0f} | {peak / 1e9:.2f} | × {ratio:,.0f} |")


if __name__ == "__main__":
    sys.exit(main())
