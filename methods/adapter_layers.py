"""Bottleneck adapters: a small network beside the model's own modules, which stays there.

m(h) = scale · (W_up · f(W_down · h + b_down) + b_up), with W_down (size, width) and W_up (width, size).
serial: y + m(y), behind each targeted module, before the residual is added (Houlsby et al.,
https://arxiv.org/abs/1902.00751, §2.1). parallel: y + m(x), from what the first target reads to what the second one
writes (He et al., https://arxiv.org/abs/2110.04366, §3.3: the scaled parallel adapter).
W_up and both biases start at zero, so that the model starts where it was; Houlsby's start is N(0, 0.01²) for both.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.dtypes import master_dtype
from methods.errors import MethodError
from methods.method import Draw
from methods.sites import AdapterSite, features, find_sites, stored_weight
from methods.spec import AdapterLayer
from methods.update.init import factor
from methods.whole import HeadMethod

_ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu}
NEITHER = "an adapter layer is no update of a weight: it cannot be merged, nor exported."
CHILD = "adapter_layer"  # its name within the module behind which it stands


class BottleneckLayer(nn.Module):
    """m above, for one place; its tensors are at least float32. `seen`: what a parallel one has read."""

    def __init__(self, spec: AdapterLayer, width: int, out: int, like: Tensor) -> None:
        super().__init__()
        dtype, device = master_dtype(like.dtype), like.device
        self.down = nn.Parameter(torch.empty(spec.size, width, dtype=dtype, device=device))
        self.down_bias = nn.Parameter(torch.zeros(spec.size, dtype=dtype, device=device))
        self.up = nn.Parameter(torch.zeros(out, spec.size, dtype=dtype, device=device))
        self.up_bias = nn.Parameter(torch.zeros(out, dtype=dtype, device=device))
        self._f, self._scale = _ACTIVATIONS[spec.activation], spec.scale
        self.seen: Tensor | None = None

    def forward(self, h: Tensor) -> Tensor:
        """h (…, width) to (…, out)."""
        down, down_bias, up, up_bias = (t.to(h.dtype) for t in (self.down, self.down_bias, self.up, self.up_bias))
        return self._scale * F.linear(self._f(F.linear(h, down, down_bias)), up, up_bias)


class AdapterLayers(HeadMethod):
    """Everything frozen; the head and one layer for each targeted module (serial) or pair of them (parallel)."""

    def attach(self, model: nn.Module, draw: Draw) -> None:
        super().attach(model, draw)
        update = self.spec.update
        assert isinstance(update, AdapterLayer)
        sites = find_sites(model, self._layout, self.spec.targets)
        if any(site.out_features != features(site.module)[0] for site in sites):
            raise MethodError(f"{self.spec.name}: an adapter layer stands behind a whole module, not a part of one.")
        self._handles: list[Any] = []
        self._layers: dict[str, BottleneckLayer] = {}
        for reads, writes in self._places(sites, update):
            self._insert(update, reads, writes, draw)

    def _places(self, sites: list[AdapterSite], update: AdapterLayer) -> list[tuple[AdapterSite | None, AdapterSite]]:
        """(the site whose input is read, None where it is the own output; the site that is added to)."""
        if update.form == "serial":
            return [(None, site) for site in sites]
        first, last = ([s for s in sites if s.target == target] for target in self.spec.targets)
        return list(zip(first, last, strict=True))

    def _insert(self, spec: AdapterLayer, reads: AdapterSite | None, writes: AdapterSite, draw: Draw) -> None:
        out = writes.out_features
        layer = BottleneckLayer(spec, out if reads is None else reads.in_features, out, stored_weight(writes.module))
        start = factor("kaiming_uniform", tuple(layer.down.shape), draw("init", "adapter", writes.path, 0))  # type: ignore[arg-type]
        layer.down.data.copy_(start)
        writes.module.add_module(CHILD, layer)
        self._layers[writes.path] = layer
        if reads is None:
            self._handles.append(writes.module.register_forward_hook(lambda _, inputs, y: y + layer(y)))
            return
        self._handles.append(reads.module.register_forward_pre_hook(lambda _, inputs: _remember(layer, inputs[0])))
        self._handles.append(writes.module.register_forward_hook(lambda _, inputs, y: y + layer(_taken(layer))))

    def groups(self, lr: float, head_lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Adapters never decay (study, §1.1)."""
        params = [p for layer in self._layers.values() for p in layer.parameters()]
        adapter = {"name": "adapter", "params": params, "lr": lr, "weight_decay": 0.0}
        return [adapter, *super().groups(lr, head_lr, weight_decay)]

    def tensors(self) -> dict[str, Tensor]:
        """adapter.<site>.<name>, head.<parameter>."""
        return {f"adapter.{name}": t.detach() for name, t in self._named()} | super().tensors()

    def _named(self) -> list[tuple[str, Tensor]]:
        return [(f"{path}.{name}", t) for path, layer in self._layers.items() for name, t in layer.named_parameters()]

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        super().restore(tensors, facts)
        for name, tensor in self._named():
            tensor.copy_(tensors[f"adapter.{name}"])

    def counts(self) -> dict[str, int]:
        return super().counts() | {"adapter": sum(t.numel() for _, t in self._named())}

    def merge(self) -> None:
        raise MethodError(NEITHER)


def _remember(layer: BottleneckLayer, x: Tensor) -> None:
    layer.seen = x


def _taken(layer: BottleneckLayer) -> Tensor:
    """What was read, and no longer held than needed."""
    x, layer.seen = layer.seen, None
    assert x is not None
    return x
