"""Any method of the `peft` library (https://github.com/huggingface/peft) that lives in modules, under our contract.

The only file that imports peft. The library adapts whole modules: of a fused projection, all of its parts. The model is
called as it is, not through the library's wrapper; so AdaLoRA's orthogonality penalty, which that wrapper adds to the
loss, is added to the gradients here, once per optimizer step. Refuses methods that need the wrapper (prompts, say), and
`merge` where the library cannot.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import peft
import torch
from torch import Tensor, nn

from methods.errors import MethodError
from methods.head import TrainedHead
from methods.method import Draw, Layout, Loop, Progress
from methods.sites import find_sites, is_transposed
from methods.spec import MethodSpec, Peft

_NORMS = ("LayerNorm", "RMSNorm")
_FAR = 2**40  # AdaLoRA wants the number of steps before the loop can tell it


class PeftMethod:
    """One adapter of the library, named "default", on the modules of our canonical targets."""

    def __init__(self, spec: MethodSpec, layout: Layout) -> None:
        assert isinstance(spec.update, Peft)
        self.spec = spec
        self.layout = layout
        self._options = dict(spec.update.options)
        self._type = spec.update.type.upper()

    def attach(self, model: nn.Module, draw: Draw) -> None:
        self.head = TrainedHead(model, self.layout.head)
        known = {id(tensor) for tensor in _all_tensors(model).values()}
        generator = draw("init", "adapter", "peft", 0)
        with torch.random.fork_rng():  # the library draws from the global stream; data order and dropout must not move
            torch.manual_seed(generator.initial_seed())
            self.library = self._injected(model)
        for parameter in self.head.parameters.values():
            parameter.requires_grad_(True)
        self._added = {name: t for name, t in _all_tensors(model).items() if id(t) not in known}
        heads = {id(parameter) for parameter in self.head.parameters.values()}
        self._trained = {n: p for n, p in model.named_parameters() if p.requires_grad and id(p) not in heads}
        if not self._trained:
            raise MethodError(f"{self.spec.name}: peft {self._type} trains nothing here; check targets and options.")
        self._hooks = list(self._orthogonal()) if self._type == "ADALORA" else []
        self._penalised: set[str] = set()

    def _injected(self, model: nn.Module) -> Any:
        kinds = {kind.value: config for kind, config in peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING.items()}
        if self._type not in kinds or issubclass(kinds[self._type], peft.PromptLearningConfig):
            usable = sorted(n for n, config in kinds.items() if not issubclass(config, peft.PromptLearningConfig))
            raise MethodError(f"peft type '{self._type}' is unknown or not in modules; known: {', '.join(usable)}.")
        try:
            return peft.get_peft_model(model, kinds[self._type](**self._arguments(model, kinds[self._type])))
        except (TypeError, ValueError, KeyError) as error:
            raise MethodError(f"{self.spec.name}: the peft library refuses {self._type} here: {error}") from error

    def _arguments(self, model: nn.Module, config: Any) -> dict[str, Any]:
        """The options, and what the library wants to know beside them."""
        fields = config.__dataclass_fields__
        if self._type == "LN_TUNING":
            targets = [name for name, module in model.named_modules() if type(module).__name__.endswith(_NORMS)]
        else:
            targets = _paths(model, self.layout, self.spec.targets)
        given = self._options | {"target_modules": targets}
        if "feedforward_modules" in fields:
            given["feedforward_modules"] = _paths(model, self.layout, [t for t in ("down",) if t in self.spec.targets])
        if "fan_in_fan_out" in fields:
            given["fan_in_fan_out"] = any(is_transposed(model.get_submodule(path)) for path in targets)
        if "total_step" in fields:
            given["total_step"] = _FAR
        return given

    def groups(self, lr: float, head_lr: float, weight_decay: float) -> list[dict[str, Any]]:
        adapter = {"name": "adapter", "params": list(self._trained.values()), "lr": lr, "weight_decay": 0.0}
        return [adapter, *self.head.groups(head_lr, weight_decay)]

    def after_step(self, progress: Progress) -> Loop:
        """AdaLoRA allocates its ranks here, while the gradients are still there."""
        self._penalised.clear()
        if self._type == "ADALORA":
            allocator = self._allocator()
            config = allocator.peft_config
            if config.tinit + config.tfinal + 1 >= progress.total:  # it needs a step before and one to allocate in
                raise MethodError(
                    f"AdaLoRA's tinit and tfinal ({config.tinit}, {config.tfinal}) fill {progress.total} steps."
                )
            allocator.set_total_step(progress.total)
            self.library.base_model.update_and_allocate(progress.step)
        return Loop.GO

    def _allocator(self) -> Any:
        return self.library.base_model.rankallocator

    def _orthogonal(self) -> Iterator[Any]:
        """The gradient of orth_reg_weight · mean ‖PᵀP − I‖_F over all P and Q (AdaLoRA, arXiv:2303.10512, eq. 4)."""
        factors = {name: p for name, p in self._trained.items() if "lora_A" in name or "lora_B" in name}
        weight = self._allocator().peft_config.orth_reg_weight / len(factors)

        def add(name: str, wide: bool, parameter: Tensor) -> None:
            if name in self._penalised or parameter.grad is None:
                return
            self._penalised.add(name)
            with torch.enable_grad():
                copy = parameter.detach().requires_grad_(True)
                gram = copy @ copy.T if wide else copy.T @ copy
                norm = torch.linalg.matrix_norm(gram - torch.eye(len(gram), dtype=gram.dtype, device=gram.device))
                parameter.grad += weight * torch.autograd.grad(norm, copy)[0]

        for name, parameter in factors.items():
            wide = "lora_A" in name
            yield parameter.register_post_accumulate_grad_hook(lambda p, name=name, wide=wide: add(name, wide, p))

    def tensors(self) -> dict[str, Tensor]:
        """library.<name> for every tensor the library added, rank.<name> for AdaLoRA's running importances."""
        added = {f"library.{name}": tensor.detach() for name, tensor in self._added.items()}
        return added | {f"rank.{name}": t for name, t in self._importances().items()} | self.head.tensors()

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
        for name, tensor in self._added.items():
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

    def links(self) -> list[dict[str, Any]]:
        return []

    def counts(self) -> dict[str, int]:
        return {"adapter": sum(p.numel() for p in self._trained.values()), "head": self.head.count()}

    def library_adapter(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """(adapter_config.json, adapter_model.safetensors) as the library itself would write them, head included."""
        config = self.library.peft_config["default"]
        pattern = getattr(config, "rank_pattern", None)
        tensors = peft.get_peft_model_state_dict(self.library)
        plain = {key: sorted(value) if isinstance(value, set) else value for key, value in config.to_dict().items()}
        if self._type == "ADALORA":
            config.rank_pattern = pattern  # the library renames its keys when it saves
        heads = {f"base_model.model.{name}": p for name, p in self.head.parameters.items()}
        both = {name: tensor.detach().cpu() for name, tensor in (tensors | heads).items()}
        return plain | {"modules_to_save": list(self.layout.head) or None, "inference_mode": True}, both

    def merge(self) -> None:
        """Raises MethodError where the library has no merge for the method."""
        for hook in self._hooks:
            hook.remove()
        try:
            self.library.merge_and_unload()
        except (AttributeError, NotImplementedError, ValueError) as error:
            raise MethodError(f"the peft library cannot merge {self._type} into this model: {error}") from error
        self.head.merge()


def _paths(model: nn.Module, layout: Layout, targets: list[str] | tuple[str, ...]) -> list[str]:
    return sorted({site.module_path for site in find_sites(model, layout, targets)}) if targets else []


def _all_tensors(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())
