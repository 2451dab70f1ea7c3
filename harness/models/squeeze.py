"""Post-Squeeze of a saved LoRA adapter: the same update at a lower rank, without training (arXiv 2602.10993, §2)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from harness.ledger.paths import to_json, write_whole
from harness.models.lora_folder import CONFIG, WEIGHTS, FactorPair, LoraFolder
from methods.compress import Backend, Compressed, compress, rank_for


@dataclass(frozen=True)
class SqueezedModule:
    """One row of the answer. `spectrum`: singular values of the scaled update before it, descending."""

    module: str
    rank_before: int
    rank: int
    variance_kept: float
    spectrum: tuple[float, ...]


@dataclass(frozen=True)
class RankTarget:
    """Either a rank for all modules, or a share of the variance that each module keeps (`uniform`: by one rank)."""

    rank: int | None = None
    keep: float | None = None
    uniform: bool = False


def squeeze(source: LoraFolder, folder: Path, target: RankTarget, backend: Backend = "qr") -> list[SqueezedModule]:
    """Write the adapter at its target rank into `folder`, which exists, and return what was kept of each module.

    The scale of every module stays what it was. Modules that were saved whole are copied.
    """
    rank = _one_rank(source, target, backend)
    tensors: dict[str, Tensor] = source.others()
    rows, alphas = [], {}
    for pair in source.pairs():
        small = _compressed(pair, rank or _rank_for_share(pair, target, backend), backend)
        tensors |= pair.shaped(small.b, small.a)
        rows.append(_row(pair, small))
        alphas[pair.module] = _alpha(pair.scale, small.a.shape[0], bool(source.config.get("use_rslora")))
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    write_whole(folder / CONFIG, to_json(_config(source.config, rows, alphas)))
    return rows


def _one_rank(source: LoraFolder, target: RankTarget, backend: Backend) -> int | None:
    """The rank of all modules, or None where each has its own."""
    if target.rank is not None or not target.uniform:
        return target.rank
    return max(_rank_for_share(pair, target, backend) for pair in source.pairs())


def _rank_for_share(pair: FactorPair, target: RankTarget, backend: Backend) -> int:
    assert target.keep is not None
    return rank_for(compress(pair.b, pair.a, pair.a.shape[0], backend=backend).spectrum, target.keep)


def _compressed(pair: FactorPair, rank: int, backend: Backend) -> Compressed:
    """A rank above the module's own is its own: there is nothing to add."""
    return compress(pair.b, pair.a, min(rank, pair.a.shape[0]), backend=backend)


def _row(pair: FactorPair, small: Compressed) -> SqueezedModule:
    spectrum = tuple(float(value) * pair.scale for value in small.spectrum)
    return SqueezedModule(pair.module, pair.a.shape[0], small.a.shape[0], small.variance_kept, spectrum)


def _alpha(scale: float, rank: int, rslora: bool) -> float:
    """The α under which a module of this rank has that scale; a whole number where it is one."""
    alpha = scale * (rank**0.5 if rslora else rank)
    return round(alpha) if abs(alpha - round(alpha)) < 1e-9 else alpha


def _config(config: Mapping[str, Any], rows: Iterable[SqueezedModule], alphas: Mapping[str, float]) -> dict[str, Any]:
    """The source's config with ranks and alphas of each module; those of most modules are the adapter's own."""
    ranks = {row.module: row.rank for row in rows}
    rank, alpha = _most_common(ranks.values()), _most_common(alphas.values())
    return dict(config) | {
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {_exactly(module): own for module, own in ranks.items() if own != rank},
        "alpha_pattern": {_exactly(module): own for module, own in alphas.items() if own != alpha},
    }


def _most_common(values: Iterable[Any]) -> Any:
    counted = list(values)
    return max(dict.fromkeys(counted), key=counted.count)


def _exactly(module: str) -> str:
    """A key that matches this module alone: peft takes keys as regular expressions."""
    return module.replace(".", r"\.")
