"""How models and checkpoints are shown in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansambl.domain.figures import number_words
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansambl.domain.architecture import Architecture
    from ansambl.domain.catalog import CatalogCheckpoint, CatalogModel, Inspection
    from ansambl.domain.units import Bytes
    from ansambl.model_catalog.download import Announcement
    from ansambl.model_catalog.library import InstalledCheckpoint


def word(name: str) -> str:
    """A word of the records in the user's language."""
    words = {
        "base": speak("base"), "instruct": speak("instruct"), "reasoning": speak("reasoning"),
        "embedding": speak("embedding"), "reranker": speak("reranker"), "speech": speak("speech"),
        "tuned": speak("tuned"), "listed": speak("listed"), "weak": speak("weak"), "unknown": speak("unknown"),
        "full": speak("full"), "sliding": speak("sliding"), "latent": speak("latent"),
        "recurrent": speak("recurrent"),
    }  # fmt: skip
    return words[name]


def active(model: CatalogModel) -> int | None:
    """The parameters of one token, where they are fewer than all."""
    if model.architecture is None or model.architecture.active == model.parameters:
        return None
    return model.architecture.active


def billions(count: int | None) -> str:
    """A count of parameters for people."""
    return speak("{billions} B").format(billions=number_words(count / 1e9, ".1f", speak)) if count else ""


def sizes(checkpoints: Sequence[CatalogCheckpoint]) -> str:
    """Quantizations with their sizes, computed ones marked."""
    from ansambl.domain.catalog import Basis
    from ansambl.domain.units import size_words

    return ", ".join(
        f"{one.quantization} {'' if one.basis is Basis.REPORTED else '≈'}{size_words(one.size, speak)}"
        for one in checkpoints
    )


def _yes_no(value: bool | None) -> str:
    if value is None:
        return speak("unknown")
    return speak("yes") if value else speak("no")


def print_model(model: CatalogModel) -> None:
    """Print what the catalog knows of a model."""
    from ansambl.cli.output import note, print_pairs, print_table
    from ansambl.domain.catalog import Basis
    from ansambl.domain.units import size_words

    unknown = speak("unknown")
    pairs = [
        (speak("Model"), f"{model.title} · {model.repo}"),
        (speak("Made for"), word(model.kind)),
        (speak("Licence"), model.licence or unknown),
        (speak("Parameters"), billions(model.parameters) or unknown),
        (speak("Context"), str(model.context) if model.context else unknown),
        (speak("Tools"), _yes_no(model.tools)),
        (speak("Images"), _yes_no(model.vision)),
    ]
    languages = model.languages or {"ru": model.quality("ru")}
    for code, quality in languages.items():
        score = f", {quality.score} %" if quality.score is not None else ""
        words = f"{word(quality.standing)}{score}" + (f" ({quality.note})" if quality.note else "")
        pairs.append((speak("Language {code}").format(code=code), words))
    if model.architecture:
        pairs += _architecture_pairs(model.architecture)
    print_pairs(pairs)
    rows = [
        (
            one.quantization, one.format, size_words(one.size, speak), f"± {size_words(one.rounding, speak)}",
            speak("reported") if one.basis is Basis.REPORTED else speak("computed"), one.source,
        )
        for one in model.checkpoints
    ]  # fmt: skip
    headers = (
        speak("Quantization"), speak("Format"), speak("Size"), speak("Rounding"), speak("Basis"), speak("Source"),
    )  # fmt: skip
    print_table(speak("Checkpoints"), headers, rows)
    print_table(speak("Sources"), (speak("Source"),), [(one,) for one in model.sources])
    for one in (*model.conflicts, *model.notes):
        note(one)


def _architecture_pairs(architecture: Architecture) -> list[tuple[str, str]]:
    from ansambl.domain.units import size_words
    from ansambl.model_catalog.inspection import kv_elements_per_token

    shape = speak("{family}, hidden size {hidden}, vocabulary {vocabulary}").format(
        family=architecture.family, hidden=architecture.hidden, vocabulary=architecture.vocabulary
    )
    pairs = [(speak("Architecture"), shape)]
    if architecture.experts:
        pairs.append(
            (
                speak("Experts"),
                speak("{active} of {experts} active").format(
                    active=architecture.experts_active, experts=architecture.experts
                ),
            )
        )
    for group in architecture.layers:
        words = f"{word(group.attention)} · {group.key_width} + {group.value_width}"
        if group.window:
            words += " · " + speak("window of {tokens} tokens").format(tokens=group.window)
        if group.state_bytes:
            words += " · " + speak("state {size}").format(size=size_words(group.state_bytes, speak))
        pairs.append((speak("{count} layers").format(count=group.count), words))
    per_token = size_words(kv_elements_per_token(architecture) * 2, speak)
    pairs.append((speak("KV cache"), speak("{size} a token in f16 until windows are full").format(size=per_token)))
    return pairs


def print_inspection(found: Inspection) -> None:
    """Print what a checkpoint's files say."""
    from ansambl.cli.output import note, print_pairs, print_table
    from ansambl.domain.units import size_words

    unknown = speak("unknown")
    exact = unknown
    if found.tensor_bytes is not None:
        exact = speak("{size} ({bytes} bytes)").format(
            size=size_words(found.tensor_bytes, speak), bytes=found.tensor_bytes
        )
    pairs = [
        (speak("Path"), found.path),
        (speak("Title"), found.title or unknown),
        (speak("Format"), f"{found.format} · {found.quantization or unknown}"),
        (
            speak("On disk"),
            speak("{size}, files: {files}").format(size=size_words(found.size, speak), files=found.files),
        ),
        (speak("Weights"), exact),
        (speak("Licence"), found.licence or unknown),
        (speak("Context"), str(found.context) if found.context else unknown),
    ]
    if found.architecture:
        pairs.append((speak("Parameters"), billions(found.architecture.parameters)))
        pairs += _architecture_pairs(found.architecture)
    if found.weights and found.weights.experts:
        pairs.append((speak("Routed experts"), size_words(found.weights.experts, speak)))
    print_pairs(pairs)
    print_table(
        speak("Tensors"), (speak("Type"), speak("Size")),
        [(name, size_words(size, speak)) for name, size in found.by_type.items()],
    )  # fmt: skip
    for one in found.notes:
        note(one.render(speak))


def print_installed(found: Sequence[InstalledCheckpoint], free: Bytes) -> None:
    """Print the checkpoints on this machine, what they take together, and the `free` bytes of the disk."""
    from ansambl.cli.output import print_table, say
    from ansambl.domain.units import Bytes, size_words
    from ansambl.model_catalog.library import Origin, disk_size

    origins = {
        Origin.ANSAMBL: speak("fetched by Ansambl"), Origin.HUB_CACHE: speak("the hub's cache"),
        Origin.FOLDER: speak("a file of yours"), Origin.OLLAMA: "Ollama", Origin.LM_STUDIO: "LM Studio",
    }  # fmt: skip
    rows = [
        (one.reference, one.quantization or one.format, size_words(one.size, speak), origins[one.origin], one.path)
        for one in found
    ]  # fmt: skip
    headers = (speak("Reference"), speak("Quantization"), speak("Size"), speak("Origin"), speak("Path"))
    print_table(speak("On this machine"), headers, rows)
    if found:
        ours = sum(one.size for one in found if one.origin is Origin.ANSAMBL)
        say(
            speak("In all {size}; Ansambl fetched {ours} of it. {free} are free where it puts models.").format(
                size=size_words(Bytes(disk_size(found)), speak), ours=size_words(Bytes(ours), speak),
                free=size_words(free, speak),
            )
        )  # fmt: skip


def print_announcement(announced: Announcement) -> None:
    """Tell, on standard error, what a download would be: size, disk, licence, time."""
    from ansambl.cli.output import note
    from ansambl.domain.units import size_words, time_words
    from ansambl.model_catalog.download import LINK_SPEEDS

    note(
        speak("{reference}: {size}, files: {count}, licence: {licence}.").format(
            reference=announced.reference, size=size_words(announced.size, speak), count=len(announced.files),
            licence=announced.licence or speak("unknown"),
        )
    )  # fmt: skip
    if announced.here:
        note(speak("{size} of it are here already from an earlier try.").format(size=size_words(announced.here, speak)))
    times = ", ".join(
        speak("{time} at {speed} Mbit/s").format(
            time=time_words(announced.seconds(speed), speak), speed=round(speed * 8 / 1e6)
        )
        for speed in LINK_SPEEDS
    )
    note(speak("It takes {times}.").format(times=times))
    note(
        speak("It is put into {folder}, where {free} are free.").format(
            folder=announced.folder, free=size_words(announced.free, speak)
        )
    )
    if announced.gated:
        note(speak("Its licence must be accepted on the model's page first, and HF_TOKEN must hold your token."))
