"""Whether a LoRA adapter was made for a base model: the first weight that does not fit is named. Pure."""

from __future__ import annotations

import re

from ansambl.domain.errors import NotSupportedError, UsageError
from ansambl.domain.text import Text, text
from ansambl.model_catalog.lora.base_model import BaseModel, Shape, layer_of
from ansambl.model_catalog.lora.names import ARCHITECTURES, gguf_name, plain_module
from ansambl.model_catalog.lora.records import GGUF, PEFT, LoraFile, LoraPair
from ansambl.model_catalog.printable import printable

_FROM_HIDDEN = re.compile(r"\.(?:q_proj|k_proj|v_proj|qkv_proj|gate_proj|up_proj|gate_up_proj)$")
_TO_HIDDEN = re.compile(r"\.(?:o_proj|down_proj)$")


def check_fit(adapter: LoraFile, base: BaseModel) -> dict[str, str]:
    """Check each weight that the adapter changes against the base model; returns what the base calls each.

    Raises:
        UsageError: the adapter was made for another model; names the first difference.
        NotSupportedError: the engine that runs this checkpoint cannot load an adapter like this, or it is not known
            what the base model calls a weight.
    """
    if adapter.format == GGUF and base.format != GGUF:
        raise NotSupportedError(
            text("a LoRA adapter in GGUF is for models that llama.cpp runs, and this model is no GGUF file; give the "
                 "adapter as PEFT saved it, a folder with adapter_config.json")
        )  # fmt: skip
    if adapter.format == GGUF and adapter.architecture != base.architecture:
        raise _other_model(
            text("it is for the architecture {there}, the model is of {here}", there=adapter.architecture or "?",
                 here=base.architecture or "?"), adapter,
        )  # fmt: skip
    deepest = max((pair for pair in adapter.pairs), key=lambda pair: _depth(pair.module))
    if _depth(deepest.module) >= base.layers:
        raise _other_model(
            text("it changes layer {there}, the model has {here} layers", there=_depth(deepest.module) + 1,
                 here=base.layers), adapter,
        )  # fmt: skip
    found: dict[str, str] = {}
    seen: set[str] = set()
    for pair in adapter.pairs:
        name = _fit(adapter, pair, base)
        if name in seen:
            raise UsageError(
                text(
                    "the LoRA adapter {path} changes {name} twice; give another file",
                    path=adapter.path,
                    name=printable(name, 120),
                )
            )
        seen.add(name)
        found[pair.module] = name
    return found


def _depth(module: str) -> int:
    found = layer_of(module)
    return -1 if found is None else found


def _fit(adapter: LoraFile, pair: LoraPair, base: BaseModel) -> str:
    name = _name(adapter, pair, base)
    if base.format == GGUF and pair.embedding and (base.tied or adapter.format == PEFT):
        # llama.cpp multiplies by the table again at the end, where matrices laid for look-ups do not fit.
        raise NotSupportedError(
            text("this LoRA adapter changes the table of tokens ({name}), which llama.cpp does not apply rightly; use "
                 "one that was trained without it, or merge it into its model", name=printable(name, 120))
        )  # fmt: skip
    shape = base.weights.get(name)
    if shape is None:
        if not base.weights or ".experts" in name:
            # Nothing but a description is here, or experts are stored together under names of the engine's own.
            shape = _described(name, base)
        else:
            raise _other_model(text("the model has no {name}", name=printable(name, 120)), adapter)
    here, there = (shape.inputs, shape.outputs), (pair.inputs, pair.outputs)
    if pair.embedding:
        # A table has as many rows as tokens, and as many columns as the model is wide.
        here = (shape.outputs, shape.inputs)
    for expected, found, words in (
        (here[0], there[0], text("inputs")), (here[1], there[1], text("outputs")),
        (shape.experts, pair.experts, text("experts")),
    ):  # fmt: skip
        if expected is not None and expected != found:
            raise _other_model(
                text(
                    "{name} has {there} {what} there, {here} here",
                    name=printable(name, 120),
                    there=found,
                    what=words,
                    here=expected,
                ),
                adapter,
            )
    return name


def _name(adapter: LoraFile, pair: LoraPair, base: BaseModel) -> str:
    if adapter.format == GGUF:
        return pair.module
    if base.format != GGUF:
        return plain_module(pair.module)
    if pair.embedding:
        return plain_module(pair.module)
    found = gguf_name(base.architecture or "", pair.module)
    if found is None:
        raise _unknown(pair, base)
    return found


def _unknown(pair: LoraPair, base: BaseModel) -> NotSupportedError:
    if base.architecture in ARCHITECTURES:
        return NotSupportedError(
            text("this LoRA adapter changes {name}, which Ansambl cannot convert to GGUF for the architecture "
                 "{architecture}; convert it with llama.cpp's convert_lora_to_gguf.py and add the GGUF file",
                 name=printable(pair.module, 120), architecture=base.architecture or "?")
        )  # fmt: skip
    return NotSupportedError(
        text("Ansambl cannot convert LoRA adapters of the architecture {architecture} to GGUF, only of {known}; "
             "convert it with llama.cpp's convert_lora_to_gguf.py and add the GGUF file",
             architecture=base.architecture or "?", known=", ".join(ARCHITECTURES))
    )  # fmt: skip


def _described(name: str, base: BaseModel) -> Shape:
    """What the model's description alone says of a weight: only the sides that are as wide as the model."""
    return Shape(
        base.hidden if _FROM_HIDDEN.search(name) and ".experts" not in name else None,
        base.hidden if _TO_HIDDEN.search(name) and ".experts" not in name else None,
    )


def _other_model(difference: Text, adapter: LoraFile) -> UsageError:
    if adapter.base:
        return UsageError(
            text("this LoRA adapter was made for another model: {difference}; use it with {base}",
                 difference=difference, base=adapter.base)
        )  # fmt: skip
    return UsageError(
        text("this LoRA adapter was made for another model: {difference}; use it with the model that it was trained on",
             difference=difference)
    )  # fmt: skip


def other_name(adapter: LoraFile, names: list[str]) -> Text | None:
    """A warning when the adapter names a base model that none of the model's own `names` looks like, else None.

    Compared are the last parts of the names, letters and digits only, so that quantized copies are not warned about.
    """
    if not adapter.base:
        return None
    wanted = _core(adapter.base)
    if not wanted or any(wanted in _core(one) or (_core(one) and _core(one) in wanted) for one in names):
        return None
    return text("the LoRA adapter says that it was trained on {base}; its shapes fit this model, but check that it is "
                "the same", base=adapter.base)  # fmt: skip


def _core(name: str) -> str:
    last = name.rstrip("/").replace("\\", "/").rpartition("/")[2].partition(":")[0].lower().removesuffix(".gguf")
    return re.sub(r"[^a-z0-9]", "", last)
