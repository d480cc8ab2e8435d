"""The chat templates that come with a checkpoint: in a GGUF header, or in the files of a safetensors folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ansambl.domain.chat_template import TemplateFacts
from ansambl.model_catalog.gguf import TEMPLATE, read_header
from ansambl.model_catalog.template_rendering import MAX_SOURCE
from ansambl.model_catalog.templates import combined, probe_template

_TOOLS = "tool_use"
"""The name of the template that engines take for requests with tools, where a checkpoint has several."""
_MAX_CONFIG = 32 << 20
_DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class TemplateText:
    """A checkpoint's chat template, its named variants, and the tokens that its prompts begin and end with."""

    source: str
    variants: Mapping[str, str] = field(default_factory=dict)
    bos: str = ""
    eos: str = ""

    def facts(self) -> TemplateFacts:
        """What holds for requests with tools and without."""
        found = probe_template(self.source, bos=self.bos, eos=self.eos)
        variant = self.variants.get(_TOOLS)
        return found if variant is None else combined(found, probe_template(variant, bos=self.bos, eos=self.eos))


def read_templates(path: Path) -> TemplateText | None:
    """The templates of the GGUF file or of the safetensors folder at `path`; None where there are none.

    Raises:
        OSError: it cannot be read.
        GgufError: it is a file, and no GGUF file.
    """
    return _of_folder(path) if path.is_dir() else _of_gguf(path)


def read_template_file(path: Path) -> TemplateText | None:
    """A file that holds nothing but a template; None when it is too long for one.

    Raises:
        OSError: it cannot be read.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        source = file.read(MAX_SOURCE + 1)
    return TemplateText(source) if 0 < len(source) <= MAX_SOURCE else None


def _of_gguf(path: Path) -> TemplateText | None:
    fields = read_header(path).fields
    source = fields.get(TEMPLATE)
    if not isinstance(source, str) or not source:
        return None
    named = {
        name.removeprefix(f"{TEMPLATE}."): value
        for name, value in fields.items()
        if name.startswith(f"{TEMPLATE}.") and isinstance(value, str)
    }
    return TemplateText(source, named)


def _of_folder(folder: Path) -> TemplateText | None:
    config = _object(folder / "tokenizer_config.json")
    bos, eos = _token(config.get("bos_token")), _token(config.get("eos_token"))
    # In the order in which transformers looks: a file of its own comes before the field.
    named = _named(config.get("chat_template")) or _named(_object(folder / "chat_template.json").get("chat_template"))
    for one in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        found = read_template_file(one)
        if found is not None:
            named[one.stem] = found.source
    alone = folder / "chat_template.jinja"
    if alone.is_file() and (found := read_template_file(alone)) is not None:
        named[_DEFAULT] = found.source
    source = named.pop(_DEFAULT, None)
    if source is None and not named:
        return None
    return TemplateText(source if source is not None else next(iter(named.values())), named, bos, eos)


def _object(path: Path) -> dict[str, Any]:
    if not path.is_file() or path.stat().st_size > _MAX_CONFIG:
        return {}
    try:
        found = msgspec.json.decode(path.read_bytes())
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _named(template: Any) -> dict[str, str]:
    """A template by its name; the field holds one, or a list of several with names."""
    if isinstance(template, str):
        return {_DEFAULT: template}
    listed = template if isinstance(template, list) else []
    return {
        one["name"]: one["template"]
        for one in listed
        if isinstance(one, dict) and isinstance(one.get("name"), str) and isinstance(one.get("template"), str)
    }


def _token(value: Any) -> str:
    written = value.get("content") if isinstance(value, dict) else value
    return written if isinstance(written, str) else ""
