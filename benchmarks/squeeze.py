"""`peftlab squeeze` on the adapter of an 8B model: time against a dense SVD per module, and peak memory.

The adapter is synthetic: 32 layers of the seven linear modules of Llama-3-8B at rank 64 in bfloat16, squeezed to rank
8. The dense decomposition of W-sized products is what the peft library does (`peft.tuners.lora.conversion`). It is
timed on the smallest module, k, where it loses least: a whole adapter would take it hours.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from safetensors.torch import save_file
from torch import Tensor

from methods.compress import compress

LAYERS, RANK, TARGET, ROUNDS = 32, 64, 8, 3
MODULES = {  # out, in
    "self_attn.q_proj": (4096, 4096), "self_attn.k_proj": (1024, 4096), "self_attn.v_proj": (1024, 4096),
    "self_attn.o_proj": (4096, 4096), "mlp.gate_proj": (14336, 4096), "mlp.up_proj": (14336, 4096),
    "mlp.down_proj": (4096, 14336),
}  # fmt: skip
TIMED = ("self_attn.k_proj",)
GOAL, MEMORY_GOAL = 20.0, 2e9


def main() -> int:
    ratios = {name: _ratio(*MODULES[name]) for name in TIMED}
    for name, (ours, dense, ratio) in ratios.items():
        print(f"{name}: {1e3 * ours:.0f} ms against {dense:.1f} s of a dense SVD and of peft: {ratio:.0f} x as fast")
    seconds, peak = _whole()
    modules = LAYERS * len(MODULES)
    print(f"{modules} modules, rank {RANK} to {TARGET}, as a command: {seconds:.0f} s, peak memory {peak / 1e9:.2f} GB")
    good = min(ratio for _, _, ratio in ratios.values()) >= GOAL and peak < MEMORY_GOAL
    print("met" if good else f"MISSED: {GOAL:.0f} x and {MEMORY_GOAL / 1e9:.0f} GB")
    return 0 if good else 1


def _ratio(out: int, width: int) -> tuple[float, float, float]:
    """Median seconds of the QR core and of the dense way, and their ratio, in rounds of one each."""
    b, a = _factors(out, width, torch.float32)
    ours, dense = [], []
    for _ in range(ROUNDS):
        ours.append(_seconds(lambda: compress(b, a, TARGET)))
        dense.append(_seconds(lambda: torch.linalg.svd(b @ a, full_matrices=False)))
    return median(ours), median(dense), median(dense) / median(ours)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _factors(out: int, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    draw = [torch.randn(*shape, generator=rng).to(dtype) for shape in ((out, RANK), (RANK, width))]
    return draw[0], draw[1]


def _whole() -> tuple[float, float]:
    """Seconds and peak resident bytes of the command on the whole adapter, in a process of its own."""
    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "adapter"
        source.mkdir()
        _write(source)
        command = [sys.executable, "-m", "harness", "squeeze", str(source), f"{place}/small", "--rank", str(TARGET)]
        seconds = _seconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
    return seconds, 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def _write(folder: Path) -> None:
    """In a process of its own too: a child's peak would otherwise begin at this one's."""
    code = "import sys; from benchmarks.squeeze import write_adapter; write_adapter(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)


def write_adapter(folder: str) -> None:
    """The synthetic adapter; every layer has the same factors."""
    tensors = {}
    for name, shape in MODULES.items():
        b, a = _factors(*shape, torch.bfloat16)
        for layer in range(LAYERS):
            path = f"base_model.model.model.layers.{layer}.{name}"
            tensors |= {f"{path}.lora_A.weight": a.clone(), f"{path}.lora_B.weight": b.clone()}
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "bias": "none", "target_modules": "all-linear"}
    save_file(tensors, Path(folder) / "adapter_model.safetensors")
    (Path(folder) / "adapter_config.json").write_text(json.dumps(config))


if __name__ == "__main__":
    sys.exit(main())
