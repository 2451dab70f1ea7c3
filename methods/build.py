"""From a spec to a method that can be attached to a model."""

from methods.adapter_layers import AdapterLayers
from methods.adapters import AdapterMethod
from methods.biases import BiasMethod
from methods.errors import MethodError
from methods.kinds import file_digest
from methods.library_types import PROMPTS
from methods.method import Layout, Method
from methods.spec import AdapterLayer, Biases, Full, HeadOnly, MethodSpec, Peft
from methods.whole import FullMethod, HeadMethod


def build(spec: MethodSpec, layout: Layout) -> Method:
    """The method of a spec; nothing is changed before `attach`. Raises MethodError for code that is not the spec's."""
    if spec.code != (code := file_digest(spec.update, spec.schedule)):
        raise MethodError(f"{spec.name}: its file has the digest {code}, and the run is of {spec.code}.")
    if isinstance(spec.update, Full):
        return FullMethod(spec, layout)
    if isinstance(spec.update, HeadOnly):
        return HeadMethod(spec, layout)
    if isinstance(spec.update, Biases):
        return BiasMethod(spec, layout)
    if isinstance(spec.update, AdapterLayer):
        return AdapterLayers(spec, layout)
    if isinstance(spec.update, Peft) and spec.update.type in PROMPTS:
        from methods.peft_prompts import PromptMethod

        return PromptMethod(spec, layout)
    if isinstance(spec.update, Peft):
        from methods.peft_library import PeftMethod  # with peft_prompts, the only files that need the peft library

        return PeftMethod(spec, layout)
    return AdapterMethod(spec, layout)
