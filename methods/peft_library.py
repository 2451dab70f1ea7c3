"""Any method of the `peft` library (https://github.com/huggingface/peft) that lives in modules, under our contract.

With `peft_prompts` and `methods.library`, all that imports peft. The library adapts whole modules: of a fused
projection, all of its parts. The model is called as it is, not through the library's wrapper; so AdaLoRA's penalty,
which that wrapper adds to the loss of every batch, is this method's `penalty`, once per optimizer step. The library's
first values stand: FourierFT's, for one, move the model at once. Refuses `merge` where the library cannot.
"""

import warnings
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import peft
import torch
from torch import Tensor, nn

from methods.dtypes import master_dtype
from methods.errors import MethodError
from methods.from_orthogonal import distance
from methods.head import TrainedHead
from methods.library_types import SHORT, why_not_type
from methods.method import NO_CHANGE, Change, Draw, Layout, Progress
from methods.sites import find_sites, is_transposed, is_within
from methods.spec import MethodSpec, Peft
from methods.training import Training
from methods.why_not import why_not_train

_NORMS = ("LayerNorm", "RMSNorm")
UNKNOWN_TOTAL = 2**40  # AdaLoRA wants the number of steps when it is attached; `begin` tells it
_OURS = {  # options that are decided elsewhere, and where
    "fan_in_fan_out": "the modules say how they store W",
    "feedforward_modules": "the target `down` names them",
    "target_modules": "the method's targets name the modules",
    "modules_to_save": "the head is trained by every method",
    "total_step": "the recipe says how long training is",
}
_NEEDS_DATA = ("eva", "corda", "lora_ga", "loftq")  # first values of A and B that come from a pass over data


class PeftMethod:
    """One adapter of the library, named "default", on the modules of our canonical targets."""

    def __init__(self, spec: MethodSpec, layout: Layout) -> None:
        assert isinstance(spec.update, Peft)
        self.spec = spec
        self.layout = layout
        if why := why_not_type(spec.update.type):
            raise MethodError(f"{spec.name}: {why}")
        self._type, given = SHORT.get(spec.update.type, (spec.update.type, {}))
        self._options = {**given, **spec.update.options}

    def attach(self, model: nn.Module, draw: Draw) -> None:
        self.head = TrainedHead(model, self.layout.head)
        known = {id(tensor) for tensor in _all_tensors(model).values()}
        generator = draw("init", "adapter", "peft", 0)
        with torch.random.fork_rng():  # the library draws from the global stream; data order and dropout must not move
            torch.manual_seed(generator.initial_seed())
            self.library = self._injected(model)
        for parameter in self.head.parameters.values():
            parameter.requires_grad_(True)
        added = {name: t for name, t in _all_tensors(model).items() if id(t) not in known}
        heads = {id(parameter) for parameter in self.head.parameters.values()}
        self._trained = {n: p for n, p in model.named_parameters() if p.requires_grad and id(p) not in heads}
        if not self._trained:
            raise MethodError(f"{self.spec.name}: peft {self._type} trains nothing here; check targets and options.")
        self._kept = added | self._trained  # an option may free tensors that were there before (`bias`)
        self._undo = [_widened(norm) for norm in _tuned_norms(model)]

    def begin(self, training: Training) -> None:
        if why := why_not_train(self.spec, training):
            raise MethodError(why)
        if self._type == "ADALORA":
            self._allocator().set_total_step(training.total)

    def _injected(self, model: nn.Module) -> Any:
        kinds = {kind.value: config for kind, config in peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING.items()}
        if self._type not in kinds:
            raise MethodError(f"{self.spec.name}: the installed peft {peft.__version__} has no {self._type}.")
        arguments = self._arguments(model, kinds[self._type])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for names that it has renamed
                return self._wrapped(model, kinds[self._type](**arguments))
        except (TypeError, ValueError, KeyError, NotImplementedError) as error:
            raise MethodError(f"{self.spec.name}: the peft library refuses {self._type} here: {error}") from error

    def _wrapped(self, model: nn.Module, config: Any) -> Any:
        return peft.get_peft_model(model, config)  # type: ignore[arg-type]

    def _arguments(self, model: nn.Module, config: Any) -> dict[str, Any]:
        """The options, and what the library wants to know beside them."""
        fields = config.__dataclass_fields__
        for option in _OURS.keys() & self._options.keys():
            raise MethodError(f"{self.spec.name}: {option} is no option here: {_OURS[option]}.")
        if (start := self._options.get("init_lora_weights")) in _NEEDS_DATA:
            raise MethodError(f"{self.spec.name}: init_lora_weights={start} needs a pass over data, which is not done.")
        norms = self._type == "LN_TUNING"
        targets = _norms(model, self.layout) if norms else _paths(model, self.layout, self.spec.targets)
        given = self._options | {"target_modules": targets}
        if "feedforward_modules" in fields:
            given["feedforward_modules"] = _paths(model, self.layout, [t for t in ("down",) if t in self.spec.targets])
        if "fan_in_fan_out" in fields:
            given["fan_in_fan_out"] = any(is_transposed(model.get_submodule(path)) for path in targets)
        if "total_step" in fields:
            given["total_step"] = UNKNOWN_TOTAL
        return given

    def groups(self, lr: float, head_lr: float, weight_decay: float) -> list[dict[str, Any]]:
        adapter = {"name": "adapter", "params": list(self._trained.values()), "lr": lr, "weight_decay": 0.0}
        return [adapter, *self.head.groups(head_lr, weight_decay)]

    def penalty(self) -> Tensor | None:
        """AdaLoRA's orth_reg_weight · mean ‖PᵀP − I‖_F over all P and Q (arXiv:2303.10512, eq. 4)."""
        if self._type != "ADALORA":
            return None
        distances = [distance(p, "lora_A" in n) for n, p in self._trained.items() if "lora_A" in n or "lora_B" in n]
        return self._allocator().peft_config.orth_reg_weight / len(distances) * torch.stack(distances).sum()

    def after_step(self, progress: Progress) -> Change:
        """AdaLoRA allocates its ranks here, by the gradients of the step."""
        if self._type == "ADALORA":
            self.library.base_model.update_and_allocate(progress.step)
        return NO_CHANGE

    def _allocator(self) -> Any:
        return self.library.base_model.rankallocator

    def tensors(self) -> dict[str, Tensor]:
        """library.<name> for every tensor the library added or freed, rank.<name> for AdaLoRA's running importances."""
        kept = {f"library.{name}": tensor.detach() for name, tensor in self._kept.items()}
        return kept | {f"rank.{name}": t for name, t in self._importances().items()} | self.head.tensors()

    def _importances(self) -> dict[str, Tensor]:
        if self._type != "ADALORA":
            return {}
        kinds = ("ipt", "exp_avg_ipt", "exp_avg_unc")
        return {f"{kind}.{name}": t for kind in kinds for name, t in getattr(self._allocator(), kind).items()}

    def facts(self) -> dict[str, Any]:
        pattern = getattr(self.library.peft_config["default"], "rank_pattern", None)
        return {"rank_pattern": pattern or {}}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        for name, tensor in self._kept.items():
            tensor.copy_(tensors[f"library.{name}"])
        self.head.restore(tensors)
        if self._type != "ADALORA":
            return
        self.library.peft_config["default"].rank_pattern = dict(facts["rank_pattern"]) or None
        self._allocator().reset_ipt()
        for key, tensor in tensors.items():
            if key.startswith("rank."):
                _, kind, name = key.split(".", 2)
                getattr(self._allocator(), kind)[name] = tensor.to(next(iter(self._trained.values())).device, copy=True)

    def outdates(self, facts: Mapping[str, Any]) -> bool:
        return False

    def history(self) -> list[dict[str, Any]]:
        return []

    def counts(self) -> dict[str, int]:
        return {"adapter": sum(p.numel() for p in self._trained.values()), "head": self.head.count()}

    def library_adapter(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """(adapter_config.json, adapter_model.safetensors) as the library itself would write them, head included."""
        config = self.library.peft_config["default"]
        pattern = getattr(config, "rank_pattern", None)
        tensors = peft.get_peft_model_state_dict(self.library)
        writable = {key: _writable(value) for key, value in config.to_dict().items()}
        if self._type == "ADALORA":
            config.rank_pattern = pattern  # the library renames its keys when it saves
        heads = {f"base_model.model.{name}": p for name, p in self.head.parameters.items()}
        both = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in (tensors | heads).items()}
        return writable | {"modules_to_save": list(self.layout.head) or None, "inference_mode": True}, both

    def merge(self) -> None:
        """Raises MethodError where the library has no merge for the method."""
        try:
            self.library.merge_and_unload()
        except (AttributeError, NotImplementedError, ValueError) as error:  # a tuner without a merge has no such name
            raise MethodError(f"the peft library cannot merge {self._type} into this model: {error}") from error
        for undo in self._undo:
            undo()
        self.head.merge()


def _paths(model: nn.Module, layout: Layout, targets: list[str] | tuple[str, ...]) -> list[str]:
    return sorted({site.module_path for site in find_sites(model, layout, targets)}) if targets else []


def _writable(value: Any) -> Any:
    """As JSON has it."""
    return sorted(value) if isinstance(value, set) else value.value if isinstance(value, Enum) else value


def _norms(model: nn.Module, layout: Layout) -> list[str]:
    norms = [name for name, module in model.named_modules() if type(module).__name__.endswith(_NORMS)]
    return [name for name in norms if is_within(name, layout.within)]


def _all_tensors(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())


def _tuned_norms(model: nn.Module) -> list[nn.Module]:
    """The copies that LN-tuning trains in place of a model's norms, where they are of half precision."""
    tuned = (getattr(m, "ln_tuning_layers", None) for m in model.modules())
    copies = [norm for norms in tuned if isinstance(norms, nn.ModuleDict) for norm in norms.values()]
    return [norm for norm in copies if (dtype := next(norm.parameters()).dtype) != master_dtype(dtype)]


def _widened(norm: nn.Module) -> Callable[[], None]:
    """Train a norm in float32, where small steps are not rounded away; the library leaves its dtype as it is.

    What goes in is cast on the way, and what comes out is cast back. Returns what undoes it, rounding once.
    """
    stored = next(norm.parameters()).dtype
    norm.to(master_dtype(stored))

    def inwards(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(x.to(master_dtype(x.dtype)) for x in inputs)

    def outwards(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output.to(stored)

    hooks = [norm.register_forward_pre_hook(inwards), norm.register_forward_hook(outwards)]

    def undo() -> None:
        for hook in hooks:
            hook.remove()
        norm.to(stored)

    return undo
