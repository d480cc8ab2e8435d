"""What the command lines of several engines have in common: which GPUs, which files, which KV types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePath

from ansambl.domain.errors import NotSupportedError, UsageError
from ansambl.domain.names import nearest_names
from ansambl.domain.text import Text, text
from ansambl.engines.command_lines.records import CommandInputs

SIXTEEN_BITS = frozenset({"auto", "f16", "fp16", "float16", "bf16", "bfloat16"})
"""KV types of two bytes: what every engine has without being told."""

_WILDCARDS = frozenset("*?[")


def visible_gpus(inputs: CommandInputs, count: int | None = None) -> dict[str, str]:
    """Environment that shows only the GPUs of the placement (`count` of them) to the engine.

    CUDA numbers GPUs by speed unless it is told to go by the bus, as the driver's tools do.
    """
    chosen = inputs.gpus[:count]
    if not chosen:
        return {}
    indexes = ",".join(map(str, chosen))
    if inputs.vendor == "nvidia":
        ordered = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"} if chosen != (0,) else {}
        return {**ordered, "CUDA_VISIBLE_DEVICES": indexes}
    return {"HIP_VISIBLE_DEVICES": indexes} if inputs.vendor == "amd" else {}


def tensor_parallel(inputs: CommandInputs, ranks: int | None) -> int:
    """How many GPUs share the tensors; one when nothing was said.

    Raises:
        UsageError: the placement has fewer GPUs.
    """
    wanted = ranks if ranks is not None else 1
    if wanted < 1 or (inputs.gpus and wanted > len(inputs.gpus)):
        raise UsageError(
            text("tensor_parallel is {ranks}, but the placement has {count} GPUs", ranks=wanted, count=len(inputs.gpus))
        )
    return wanted


def one_kv_type(inputs: CommandInputs, known: Mapping[str, str | None], engine: str) -> str | None:
    """How the engine spells the KV type; None where it needs no word.

    Raises:
        NotSupportedError: the engine has no such type, or not different ones for K and V.
    """
    wanted = inputs.kv_type.lower()
    key, _, value = wanted.partition("/")
    if value and value == key:
        wanted = key
    if wanted in SIXTEEN_BITS and wanted not in known:
        return None
    if wanted not in known:
        raise NotSupportedError(
            text("{engine} has no KV type '{kv_type}'; it takes {known}", engine=engine, kv_type=inputs.kv_type,
                 known=", ".join(("f16", *known)))
        )  # fmt: skip
    return known[wanted]


def key_and_value(kv_type: str, known: frozenset[str], engine: str) -> tuple[str, str]:
    """The types of K and V where the engine takes them apart (``"q8_0/q4_0"``), in llama.cpp's words.

    Raises:
        UsageError: one of them is unknown.
    """
    same = {"auto": "f16", "fp16": "f16", "float16": "f16", "bfloat16": "bf16"}
    key, _, value = kv_type.lower().partition("/")
    found = []
    for name in (key, value or key):
        plain = same.get(name, name)
        if plain not in known:
            near = nearest_names(plain, known)
            raise UsageError(
                text("{engine} has no KV type '{kv_type}'; it takes {known}", engine=engine, kv_type=name,
                     known=", ".join(near or sorted(known)))
            )  # fmt: skip
        found.append(plain)
    return found[0], found[1]


def is_pattern(name: str | None) -> bool:
    """Whether a file name is a pattern for several."""
    return name is not None and bool(_WILDCARDS & set(name))


def gguf_file(inputs: CommandInputs) -> str:
    """The name of the GGUF file: the real one where it is known, else one after model and quantization."""
    if inputs.path is not None:
        return PurePath(inputs.path).name
    if inputs.file is not None and not is_pattern(inputs.file):
        return PurePath(inputs.file).name
    return f"{inputs.model}-{inputs.quantization}.gguf"


def model_folder(inputs: CommandInputs) -> str:
    """The name of a folder for a checkpoint of several files."""
    if inputs.path is not None:
        return PurePath(inputs.path).name
    return f"{inputs.model}-{inputs.quantization}".lower()


def download(inputs: CommandInputs, folder: str) -> tuple[tuple[str, ...], ...]:
    """The command that fetches the checkpoint into `folder`; none when it is here or nobody knows where it is."""
    if inputs.path is not None or inputs.repo is None:
        return ()
    wanted: tuple[str, ...] = ()
    if inputs.format == "gguf":
        wanted = ("--include", inputs.file or f"*{inputs.quantization}*.gguf")
    return (("hf", "download", inputs.repo, *wanted, "--local-dir", folder),)


def where_files_are(inputs: CommandInputs) -> tuple[Text, ...]:
    """What must be said about the files: a name that stands for one, a repository that nobody named."""
    if inputs.path is not None:
        return ()
    if inputs.repo is None:
        return (
            text("no source names a repository with {model} in {quantization} ({format}); write the path of your files "
                 "in its place", model=inputs.model, quantization=inputs.quantization, format=inputs.format),
        )  # fmt: skip
    if not inputs.exact_repo and inputs.format == "gguf":
        return (
            text("whether {repo} has {quantization} is not known: look there before you fetch it", repo=inputs.repo,
                 quantization=inputs.quantization),
        )  # fmt: skip
    if not inputs.exact_repo:
        return (
            text("no source names the repository of {model} in {quantization}; {repo} holds the original weights: "
                 "write the right one in its place", model=inputs.model, quantization=inputs.quantization,
                 repo=inputs.repo),
        )  # fmt: skip
    return ()


BESIDE = ("LoRA", "mmproj", "draft")
"""What may be loaded beside a model: LoRA adapters, a projector, a draft model."""


def refuse_beside(inputs: CommandInputs, engine: str, names: Iterable[str] = BESIDE) -> None:
    """Refuse those of `BESIDE` that an engine cannot be told.

    Raises:
        NotSupportedError: one of them is wanted.
    """
    wanted = {"LoRA": inputs.loras, "mmproj": inputs.mmproj, "draft": inputs.draft}
    for name in names:
        if wanted[name]:
            raise NotSupportedError(
                text("{engine} cannot be told {name} on its command line", engine=engine, name=name)
            )


def refuse_projector(inputs: CommandInputs, engine: str) -> None:
    """Refuse a projector for an engine whose checkpoints hold what sees images themselves.

    Raises:
        NotSupportedError: one is wanted.
    """
    if inputs.mmproj is not None:
        raise NotSupportedError(
            text("{engine} takes no projector: what sees images lies in its own checkpoint; leave mmproj out",
                 engine=engine)
        )  # fmt: skip


def address(inputs: CommandInputs, usual: int) -> tuple[str, int, str]:
    """Host, port, and the address of the OpenAI API there."""
    port = inputs.port if inputs.port is not None else usual
    if not 1 <= port <= 65535:
        raise UsageError(text("{name} is {value}; give a whole number from 1 to {most}", name="port", value=port,
                              most=65535))  # fmt: skip
    shown = f"[{inputs.host}]" if ":" in inputs.host else inputs.host
    return inputs.host, port, f"http://{shown}:{port}/v1"


def refused(engine: str, name: str, why: Text) -> NotSupportedError:
    """The error for a setting that an engine has no word for."""
    return NotSupportedError(text("{engine} cannot be told {name}: {why}", engine=engine, name=name, why=why))


def contradiction(first: str, second: str, engine: str) -> UsageError:
    """The error for two settings that exclude each other."""
    return UsageError(
        text("{first} and {second} exclude each other on {engine}; leave one of them out", first=first, second=second,
             engine=engine)
    )  # fmt: skip


def no_draft_tokens(tokens: int | None) -> None:
    """Refuse a number of draft tokens where there is no draft model.

    Raises:
        UsageError: it was given.
    """
    if tokens is not None:
        raise UsageError(
            text("draft_tokens is {value}, but no draft model is named; add --set draft=PATH", value=tokens)
        )


def no_key(where: str) -> Text:
    """What must be said of an engine that takes no key from its environment."""
    return text("it answers whoever reaches {address} and takes no key from the environment: keep it on this machine",
                address=where)  # fmt: skip


def no_slots(engine: str, inputs: CommandInputs) -> Text:
    """What must be said of an engine whose sequences share one pool."""
    return text("{engine} has no slots: the plan counts on {parallel} × {context} tokens, and all requests share its "
                "KV cache", engine=engine, parallel=inputs.parallel, context=inputs.context)  # fmt: skip


def guessed_name(inputs: CommandInputs) -> tuple[Text, ...]:
    """What must be said where a command names a GGUF file whose real name is not known."""
    if inputs.path is not None or inputs.repo is None or (inputs.file is not None and not is_pattern(inputs.file)):
        return ()
    return (
        text("what the file is called is not known before it is fetched: write its name in place of {file}, of a "
             "divided one the first", file=gguf_file(inputs)),
    )  # fmt: skip


def tried(version: str) -> Text:
    """How far a command can be trusted: it was tried on the real engine."""
    return text("{version}: tried on the real engine", version=version)


def flags_checked(version: str) -> Text:
    """How far a command can be trusted: its flags stand in the engine's own source."""
    return text("{version}: every flag stands in its source; not verified on the real engine", version=version)


def as_documented(source: str) -> Text:
    """How far a command can be trusted: documentation was followed."""
    return text("{source}: as documented there; not verified on the real engine", source=source)
