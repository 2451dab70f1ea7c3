"""Where a method acts: the weights that its canonical targets name in a model.

A site is one target in one block: a whole nn.Linear, a whole transposed Conv1D (GPT-2 stores (in, out)), or an equal
part of a fused projection (`attn.c_attn[0/3]`). Refuses a target that the layout does not know, that matches no module,
or that is not found once in every block.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from torch import Tensor, nn

from methods.errors import MethodError
from methods.method import Layout
from methods.quantised import dequantised, is_quantised

_FUSED = re.compile(r"(?P<path>.+)\[(?P<part>\d+)/(?P<parts>\d+)\]")


@dataclass(frozen=True, eq=False)
class AdapterSite:
    """The rows `low` to `high` of one module's weight, read as (out, in) however they are stored."""

    path: str  # unique in the model; the part of a fused projection is in brackets
    module_path: str
    module: nn.Module
    low: int
    high: int
    writable: bool  # the weight can be read and written column by column: not sharded, not quantised, not wrapped
    target: str = ""  # its canonical name
    layer: int = 0  # the block that it is in

    @property
    def transposed(self) -> bool:
        return is_transposed(self.module)

    @property
    def quantised(self) -> bool:
        return is_quantised(self.module)

    @property
    def weight(self) -> Tensor:
        """A view (out, in) into the stored weight, detached: writing to it writes to the model.

        Of a quantised weight a copy, as it is read back.
        """
        if self.quantised:
            return dequantised(self.module)[self.low : self.high]
        stored = stored_weight(self.module).detach()
        return (stored.t() if self.transposed else stored)[self.low : self.high]

    @property
    def out_features(self) -> int:
        return self.high - self.low

    @property
    def in_features(self) -> int:
        return features(self.module)[1]


def stored_weight(module: nn.Module) -> Tensor:
    """The weight as the module holds it."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight


def is_transposed(module: nn.Module) -> bool:
    """GPT-2's Conv1D (transformers.pytorch_utils) computes x @ weight + bias; told by name, without that library."""
    return type(module).__name__ == "Conv1D"


def features(module: nn.Module) -> tuple[int, int]:
    """(out, in) of a linear module; raises MethodError for anything else."""
    if is_transposed(module):
        rows, columns = stored_weight(module).shape
        return columns, rows
    if isinstance(module, nn.Linear):  # not weight.shape, which a quantised weight may have packed
        return module.out_features, module.in_features
    raise MethodError(f"a {type(module).__name__} is no linear module; targets must name nn.Linear or Conv1D modules.")


def find_sites(model: nn.Module, layout: Layout, targets: Iterable[str]) -> list[AdapterSite]:
    """All sites in the order of the model's modules; raises MethodError as the module says."""
    by_target = {target: _matches(model, target, layout) for target in targets}
    if not by_target:
        raise MethodError(f"no target is named; known for this model: {', '.join(layout.targets)}.")
    _check_counts(model, by_target)
    order = {name: n for n, (name, _) in enumerate(model.named_modules())}
    sites = [site for matches in by_target.values() for site in matches]
    return sorted(sites, key=lambda site: (order[site.module_path], site.low))


def _matches(model: nn.Module, target: str, layout: Layout) -> list[AdapterSite]:
    if target not in layout.targets:
        raise MethodError(f"target '{target}' is unknown for this model; known: {', '.join(layout.targets)}.")
    address = layout.targets[target]
    fused = _FUSED.fullmatch(address)
    path, part, parts = (fused["path"], int(fused["part"]), int(fused["parts"])) if fused else (address, 0, 1)
    inside_a_block = re.compile(rf"(?:(?:.+\.)?(?P<layer>\d+)\.)?{re.escape(path)}")
    names = [name for name, _ in model.named_modules() if is_within(name, layout.within)]
    layers = {name: at["layer"] for name in names if (at := inside_a_block.fullmatch(name))}
    if not layers:
        raise MethodError(f"target '{target}' ({address}) is no module of {type(model).__name__}; correct its card.")
    writable = {name: layout.writable and _is_plain(model, name) for name in layers}
    sites = [_site(name, model.get_submodule(name), part, parts, writable[name]) for name in layers]
    return [replace(site, target=target, layer=int(layers[site.module_path] or 0)) for site in sites]


def is_within(name: str, path: str) -> bool:
    """Whether a module or parameter lies in the module at `path`; everything lies in ""."""
    return not path or name.startswith(f"{path}.")


def _is_plain(model: nn.Module, name: str) -> bool:
    """FSDP shows a whole weight between a gather and the next free, and forgets what is written to it; so it is told by
    the class it gives to the modules around, not by the weight of the moment."""
    module = model.get_submodule(name)
    parts = name.split(".")
    around = (type(model.get_submodule(".".join(parts[:n]))).__name__ for n in range(len(parts) + 1))
    if any(kind.startswith(("FSDP", "FullyShardedDataParallel")) for kind in around):
        return False
    weight = getattr(module, "weight", None)
    linear = type(module) is nn.Linear or is_transposed(module)
    return linear and type(weight) is nn.Parameter and weight.is_floating_point()


def _site(name: str, module: nn.Module, part: int, parts: int, writable: bool) -> AdapterSite:
    out, _ = features(module)
    if out % parts or part >= parts:
        raise MethodError(f"{name} has {out} rows: [{part}/{parts}] is no equal part of it.")
    width = out // parts
    path = name if parts == 1 else f"{name}[{part}/{parts}]"
    return AdapterSite(path, name, module, part * width, (part + 1) * width, writable)


def _check_counts(model: nn.Module, by_target: dict[str, list[AdapterSite]]) -> None:
    counts = {target: len(sites) for target, sites in by_target.items()}
    config = getattr(model, "config", None)
    config = getattr(config, "text_config", config)  # of a model that reads images too
    blocks = getattr(config, "num_hidden_layers", next(iter(counts.values())))
    if any(count != blocks for count in counts.values()):
        raise MethodError(f"{type(model).__name__} has {blocks} blocks, but its targets were found {counts} times.")
