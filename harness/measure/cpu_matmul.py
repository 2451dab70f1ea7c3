"""Float32 matrix products of AMD's AVX-512 CPUs by oneDNN, which PyTorch carries and does not use for them.

PyTorch gives them to MKL, and MKL gives an AMD CPU its AVX2 kernels: half of what a Zen 5 core can do
(`benchmarks/matmul.py` measures both). While `fast_matmul` is on, every large `mm` and `addmm` of the process takes
oneDNN's kernel, whoever asks for it: our methods, the peft library's, the frozen floor, forward and backward. So
nothing is compared under different kernels. Elsewhere (Intel, GPUs, other dtypes) nothing changes.
ATEN_CPU_CAPABILITY=avx2 leaves MKL in place, as it does for PyTorch's own AVX-512 kernels.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST = 2**21  # multiply-adds; below, the call costs more than the kernel saves
ROWS = 64  # tokens are filled up to a multiple: oneDNN compiles a kernel for each shape and keeps it (0.5 MB)


def matmul_kernels(device: torch.device) -> str:
    """Whose float32 matrix products `fast_matmul` runs on `device`: "oneDNN", or "PyTorch" where nothing changes."""
    wide = device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX512"
    known = torch.backends.mkl.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return "oneDNN" if wide and known and _made_by_amd() else "PyTorch"


@contextmanager
def fast_matmul(device: torch.device) -> Iterator[None]:
    """Inside, large float32 products of the whole process use the kernels that `matmul_kernels` names."""
    if matmul_kernels(device) == "PyTorch":
        yield
        return
    with torch.library._scoped_library("aten", "IMPL") as library:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # PyTorch says once that a kernel of its own is replaced
            library.impl("mm", _mm, "CPU")
            library.impl("addmm", _addmm, "CPU")
        yield


def _mm(a: Tensor, b: Tensor) -> Tensor:
    product = onednn_product(a, b, None)
    return torch.mm(a, b, out=a.new_empty(len(a), b.shape[1])) if product is None else product


def _addmm(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    plain = bias.shape == (b.shape[1],) and bias.dtype is torch.float32 and beta == alpha == 1
    product = onednn_product(a, b, bias) if plain else None
    if product is None:
        return torch.addmm(bias, a, b, beta=beta, alpha=alpha, out=a.new_empty(len(a), b.shape[1]))
    return product


def onednn_product(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor | None:
    """a·b + bias, or None where PyTorch's own kernel is to do it."""
    (m, k), n = a.shape, b.shape[1]
    if m * k * n < LEAST or a.dtype is not torch.float32 or b.dtype is not torch.float32 or len(b) != k:
        return None
    if a.stride(1) == 1:  # activations or their gradients, by a weight: a row for each token
        return None if m < ROWS else _onednn(_whole(a), b, bias)[:m]
    if k < ROWS:
        return None
    a, b = _whole(a.t()).t(), _whole(b)  # the gradient of a weight, a sum over tokens
    if bias is None and 8 * n <= m:  # of a thin factor: oneDNN would copy all of a
        return _onednn(b.t(), a.t(), None).t().contiguous()
    return _onednn(a, b, bias)


def _whole(rows: Tensor) -> Tensor:
    """Rows of zeros added up to a multiple of ROWS."""
    return F.pad(rows, (0, 0, 0, -len(rows) % ROWS)) if len(rows) % ROWS else rows


def _onednn(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(a, b.t(), bias, "none", [], "")


@cache
def _made_by_amd() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and "AuthenticAMD" in cpuinfo.read_text()
