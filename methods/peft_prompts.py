"""The learned prompts of the `peft` library, put in front of a model's text without its wrapper around the model.

The library makes, encodes and saves them; here they are put where its wrapper puts them. Prompt tuning and P-tuning
(https://arxiv.org/abs/2104.08691, https://arxiv.org/abs/2103.10385): rows in front of the word embeddings. Prefix
tuning and cartridges (https://arxiv.org/abs/2101.00190, https://arxiv.org/abs/2506.06266): keys and values in front of
those of every block. Unlike the wrapper, it gives a language model the positions of its text alone, so that padding on
the left moves nothing, and lets a classifying decoder find its last token. Refuses models that do not read tokens.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import peft
import torch
from torch import Tensor, nn

from methods.errors import MethodError
from methods.library_types import IN_CACHE, prompt_length, why_not_prompt
from methods.peft_library import PeftMethod


class PromptMethod(PeftMethod):
    """The prompt's encoder is the model's `prompt_encoder`; the model itself stays as it is."""

    def _arguments(self, model: nn.Module, config: Any) -> dict[str, Any]:
        if (why := self._why_not(model)) is not None:
            raise MethodError(f"{self.spec.name}: {why}")
        return {**self._options, "inference_mode": False}

    def _why_not(self, model: nn.Module) -> str | None:
        kind = type(model).__name__
        if self.layout.within or getattr(model, "main_input_name", "") != "input_ids":
            return f"a learned prompt stands in front of a text, and {kind} reads images; take lora."
        if why := why_not_prompt(self._type, self._options):
            return why
        if self._type in IN_CACHE and "past_key_values" not in _arguments_of(_backbone(model)):
            return f"{kind} takes no keys and values from before, as peft {self._type} needs; take prompt_tuning."
        return None

    def _wrapped(self, model: nn.Module, config: Any) -> Any:
        library = peft.PeftModel(model, config)  # type: ignore[arg-type]
        model.add_module("prompt_encoder", library.prompt_encoder)
        put = _put_in_cache if self._type in IN_CACHE else _put_in_text
        put(model, library, prompt_length(self.spec.update))
        return library

    def library_adapter(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        config, tensors = super().library_adapter()
        heads = [f"base_model.model.{name}" for name in self.head.parameters]
        return config, {n.replace("base_model.model.", "base_model.", n in heads): t for n, t in tensors.items()}

    def merge(self) -> None:
        raise MethodError(f"a prompt is no change of the weights: peft {self._type} cannot be merged; export it.")


def _put_in_text(model: nn.Module, library: Any, rows: int) -> None:
    """Stand-in tokens in front of the ids, and the prompt in the place of what they are embedded to."""
    words = model.get_input_embeddings()  # type: ignore[operator]
    stand_in = 0 if getattr(model.config, "pad_token_id", None) != 0 else 1
    coming: list[int] = []

    def before(_: nn.Module, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        ids, first = given["input_ids"], _is_first(given)
        if first:
            coming.append(rows)
            given["input_ids"] = torch.cat([ids.new_full((len(ids), rows), stand_in), ids], dim=1)
            if (kinds := given.get("token_type_ids")) is not None:
                given["token_type_ids"] = torch.cat([kinds.new_zeros(len(ids), rows), kinds], dim=1)
            if _is_lm(model):
                given["logits_to_keep"] = _of_text(given.get("logits_to_keep", 0), ids.shape[1], rows)
        return args, _widened(model, given, rows, given["input_ids"].shape[1])

    def embedded(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        if not coming:
            return output
        prompt = library.get_prompt(batch_size=len(output)).to(output.dtype)
        return torch.cat([prompt, output[:, coming.pop() :]], dim=1)

    model.register_forward_pre_hook(before, with_kwargs=True)
    words.register_forward_hook(embedded)


def _of_text(keep: int | Tensor, width: int, rows: int) -> int | Tensor:
    """Which logits are computed: those of the text alone, where a caller wants all."""
    return keep + rows if isinstance(keep, Tensor) else keep or width


def _put_in_cache(model: nn.Module, library: Any, rows: int) -> None:
    def before(_: nn.Module, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        ids = given["input_ids"]
        if _is_first(given):
            prefix = _in_dtype_of(library.get_prompt(batch_size=len(ids), max_cache_len=-1), ids.device)
            if (own := given.get("past_key_values")) is None:
                given["past_key_values"] = prefix
            else:  # the writer's own, which it goes on with
                for number, layer in enumerate(prefix.layers):
                    own.update(layer.keys, layer.values, number)
        return args, _widened(model, given, rows, ids.shape[1])

    model.register_forward_pre_hook(before, with_kwargs=True)


def _in_dtype_of(cache: Any, device: torch.device) -> Any:
    """What attention computes in under autocast."""
    if device.type != "meta" and torch.is_autocast_enabled(device.type):
        for layer in cache.layers:
            layer.keys, layer.values = (t.to(torch.get_autocast_dtype(device.type)) for t in (layer.keys, layer.values))
    return cache


def _widened(model: nn.Module, given: dict[str, Any], rows: int, width: int) -> dict[str, Any]:
    """The mask also covers the prompt, and the positions of a language model's last `width` tokens count it."""
    if (mask := given.get("attention_mask")) is None:
        return given | _moved_on(given.get("position_ids"), rows, width)
    mask = torch.cat([mask.new_ones(len(mask), rows), mask], dim=1)
    places = {"position_ids": (mask.long().cumsum(-1) - 1).clamp(min=0)[:, -width:]} if _is_lm(model) else {}
    return given | {"attention_mask": mask} | places


def _moved_on(places: Tensor | None, rows: int, width: int) -> dict[str, Tensor]:
    """The positions that a caller gives, behind the prompt; `width` of them, the prompt's own in front."""
    if places is None:
        return {}
    own = torch.arange(width - places.shape[1], device=places.device).expand(len(places), -1)
    return {"position_ids": torch.cat([own, places + rows], dim=1)}


def _is_first(given: dict[str, Any]) -> bool:
    """Whether nothing has been read yet: later tokens find the prompt in the cache."""
    cache = given.get("past_key_values")
    return cache is None or cache.get_seq_length() == 0


def _is_lm(model: nn.Module) -> bool:
    return "logits_to_keep" in _arguments_of(model)


def _backbone(model: Any) -> nn.Module:
    return model.base_model


def _arguments_of(module: nn.Module) -> Mapping[str, Any]:
    """Their names, in order, of the module's own class."""
    return inspect.signature(type(module).forward).parameters
