"""Reads one role from its table. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ansambl.domain.role import PASSAGES, Layout, ModelName, Rewrite, Role, RoleWants
from ansambl.domain.text import text
from ansambl.roles.field_checks import Fields, KeyPath, chosen, known_language, known_model, wrong

SAMPLING_FIELDS = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "frequency_penalty",
    "presence_penalty",
    "repeat_penalty",
    "seed",
    "stop",
    "reasoning_effort",
)
"""Request fields that a role may set directly; others go into its table ``sampling``."""

ROLE_FIELDS = (
    "instruction", "instructions", "description", "model", "layout", "sampling", "output_limit", "aliases", "wants",
    "thinking_language", "answer_language", "context_share", "tools", "collections", "examples", "lora",
    "rewrite", "passages", "knowledge_share",
    *SAMPLING_FIELDS,
)  # fmt: skip
"""What a role's table may hold."""

MOST_PASSAGES, LARGEST_KNOWLEDGE = 40, 0.8
"""The most passages that a role may be given, and the largest part of the context that they may fill."""

LONGEST_TOKEN = 12
"""More letters than the tokens of any text average: English takes 4 to 5 letters a token in common vocabularies, and no
prose comes near this. An instruction with more letters than this times the context cannot fit."""


def merged_role(base: Fields, own: Fields) -> dict[str, object]:
    """A role's table with what another one sets over it.

    An instruction of one's own replaces the shipped ones in all languages: they say something else. Instructions in
    single languages and fields of ``sampling`` are replaced one by one.
    """
    merged = {**base, **own}
    if "instructions" in own and "instruction" not in own:
        merged["instructions"] = {**base.get("instructions", {}), **own["instructions"]}
    elif "instruction" in own and "instructions" not in own:
        merged.pop("instructions", None)
    if "sampling" in base or "sampling" in own:
        merged["sampling"] = {**base.get("sampling", {}), **own.get("sampling", {})}
    return merged


def read_role(name: str, fields: Fields, origin: str, models: Mapping[str, str]) -> Role:
    """The role that the table `fields` describes; `models` maps folded spellings to the names of models.

    Raises:
        ConfigurationError: a value that means nothing, or a model that is not there.
    """
    key = ("roles", name)
    model = fields.get("model")
    share = float(fields.get("context_share", 1.0))
    if not 0 < share <= 1:
        raise wrong((*key, "context_share"), text("{share} is no share; it is above 0 and at most 1", share=share))
    tools = fields.get("tools")
    direct = {field: fields[field] for field in SAMPLING_FIELDS if field in fields}
    return Role(
        name=name,
        instruction=fields.get("instruction", ""),
        description=str(fields.get("description", "")),
        model=None if model is None else known_model((*key, "model"), model, models),
        layout=Layout(chosen((*key, "layout"), fields.get("layout", Layout.SHARED_PREFIX), Layout)),
        sampling={**fields.get("sampling", {}), **direct},
        output_limit=fields.get("output_limit"),
        aliases=tuple(fields.get("aliases", ())),
        origin=origin,
        wants=RoleWants(chosen((*key, "wants"), fields.get("wants", RoleWants.CHAT), RoleWants)),
        instructions=_instructions((*key, "instructions"), fields.get("instructions", {})),
        thinking_language=known_language((*key, "thinking_language"), fields.get("thinking_language")),
        answer_language=known_language((*key, "answer_language"), fields.get("answer_language")),
        context_share=share,
        tools=None if tools is None else tuple(tools),
        collections=tuple(fields.get("collections", ())),
        examples=tuple(fields.get("examples", ())),
        lora=_name_or_none(fields.get("lora")),
        rewrite=Rewrite(chosen((*key, "rewrite"), fields.get("rewrite", Rewrite.AUTO), Rewrite)),
        passages=_passages((*key, "passages"), fields.get("passages", PASSAGES)),
        knowledge_share=_share((*key, "knowledge_share"), fields.get("knowledge_share")),
    )


def _passages(key: KeyPath, written: object) -> int:
    if isinstance(written, bool) or not isinstance(written, int) or not 1 <= written <= MOST_PASSAGES:
        raise wrong(key, text("it is a whole number from 1 to {most}", most=MOST_PASSAGES))
    return written


def _share(key: KeyPath, written: object) -> float | None:
    if written is None:
        return None
    if isinstance(written, bool) or not isinstance(written, int | float) or not 0 < written <= LARGEST_KNOWLEDGE:
        raise wrong(key, text("it is a part above 0 and at most {most}", most=LARGEST_KNOWLEDGE))
    return float(written)


def _name_or_none(written: object) -> str | None:
    """A name; the empty one takes back what is shipped or set elsewhere."""
    return str(written) if written else None


def _instructions(key: KeyPath, written: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for language, instruction in written.items():
        code = known_language((*key, language), language) or language
        if code in found:
            raise wrong((*key, language), text("the language '{code}' stands here twice; keep one", code=code))
        found[code] = instruction
    return found


def check_fits(role: Role, model: ModelName | None) -> None:
    """Refuse an instruction that cannot fit into the model's context, whatever its tokenizer.

    Raises:
        ConfigurationError: it cannot.
    """
    if model is None or model.context is None:
        return
    written: list[tuple[tuple[str, ...], str]] = [(("instruction",), role.instruction)]
    written += [(("instructions", language), one) for language, one in role.instructions.items()]
    for field, instruction in written:
        if len(instruction) > LONGEST_TOKEN * model.context:
            raise wrong(
                ("roles", role.name, *field),
                text(
                    "the instruction has {letters} letters, which cannot fit into the {context} tokens of the model "
                    "'{model}'; shorten it",
                    letters=len(instruction), context=model.context, model=model.name,
                ),
            )  # fmt: skip
