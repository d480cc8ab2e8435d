"""What people write for a checkpoint on a hub, and which files of a repository belong together. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from ansambl.domain.errors import CheckpointError, UsageError
from ansambl.domain.text import text
from ansambl.domain.units import Bytes
from ansambl.model_catalog.printable import printable

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_REFERENCE = re.compile(rf"(?P<repo>{_NAME}/{_NAME})(?::(?P<tag>[\w.-]{{1,64}})|/(?P<file>[^:?#\\]{{1,400}}))?")
_QUANTIZATION = re.compile(
    r"(?:^|[-._/])((?:UD-)?(?:I?Q[1-8]_(?:K(?:_[A-Z]{1,3})?|[01]|X{0,2}[SML]|NL)|TQ[12]_0|BF16|F16|FP16|F32|MXFP4(?:_MOE)?))"
    r"(?=$|[-._/])",
    re.IGNORECASE,
)
_SPLIT = re.compile(r"(?P<stem>.+)-(?P<index>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
_PROJECTOR = "mmproj"
# What is taken when nobody says which: the usual compromise first, as llama.cpp and Ollama do, then its neighbours.
_PREFERRED = ("Q4_K_M", "UD-Q4_K_XL", "MXFP4", "MXFP4_MOE", "Q4_K_S", "Q5_K_M", "Q4_0", "IQ4_XS", "Q6_K", "Q8_0",
              "Q3_K_M", "BF16", "F16")  # fmt: skip
_TOKENIZERS = re.compile(r"(?:[\w.-]+\.(?:json|jinja|model|tiktoken)|merges\.txt|vocab\.txt|LICEN[CS]E[\w.-]*)")
_MODULES = re.compile(r"\d{1,2}_[A-Za-z]+/[\w.-]+\.(?:json|safetensors)")
_DUPLICATES = re.compile(r"consolidated[\w.-]*\.safetensors|[\w.-]*\.index\.json")
INDEX = "model.safetensors.index.json"
SAFETENSORS = "safetensors"


@dataclass(frozen=True, slots=True)
class HubReference:
    """A checkpoint on a hub: ``owner/name``, with a quantization or a file or neither."""

    repo: str
    quantization: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        if self.file:
            return f"{self.repo}/{self.file}"
        return f"{self.repo}:{self.quantization}" if self.quantization else self.repo


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a repository. `sha256` is of its content when it is a large file, else `blob` is git's own hash."""

    path: str
    size: Bytes
    sha256: str | None = None
    blob: str | None = None


@dataclass(frozen=True, slots=True)
class GgufGroup:
    """The files of one GGUF checkpoint, in order; `quantization` is what their names say."""

    stem: str
    quantization: str | None
    files: tuple[HubFile, ...]

    @property
    def size(self) -> Bytes:
        """Bytes of all files."""
        return Bytes(sum(one.size for one in self.files))


def is_address(reference: str) -> bool:
    """Whether it is the address of a file on the web."""
    return urlsplit(reference).scheme.lower() in {"http", "https"}


def parse_reference(reference: str) -> HubReference | None:
    """Read ``owner/name``, ``owner/name:Q4_K_M`` or ``owner/name/folder/file.gguf``; None when it is none of these."""
    match = _REFERENCE.fullmatch(reference)
    if match is None or ".." in reference or not reference.isprintable():
        return None
    if match["repo"].lower().endswith((".gguf", ".safetensors")):
        # A file in a folder, not a repository.
        return None
    if match["file"] and any(not part for part in match["file"].split("/")):
        return None
    return HubReference(match["repo"], match["tag"], match["file"])


def quantization_of(path: str) -> str | None:
    """The quantization that a GGUF file's name (or else its folder's) says, in capitals."""
    found = _QUANTIZATION.findall(path.removesuffix(".gguf"))
    return found[-1].upper().replace("FP16", "F16") if found else None


def gguf_groups(files: Iterable[HubFile]) -> list[GgufGroup]:
    """The GGUF checkpoints among `files`; projectors and checkpoints of which a part is missing are left out."""
    parts: dict[str, dict[int, HubFile]] = {}
    counts: dict[str, int] = {}
    for one in files:
        if not one.path.lower().endswith(".gguf") or _PROJECTOR in one.path.lower():
            continue
        match = _SPLIT.fullmatch(one.path)
        stem = match["stem"] if match else one.path[:-5]
        counts[stem] = int(match["count"]) if match else 1
        parts.setdefault(stem, {})[int(match["index"]) if match else 1] = one
    whole = {stem: found for stem, found in parts.items() if sorted(found) == list(range(1, counts[stem] + 1))}
    return [
        GgufGroup(stem, quantization_of(stem), tuple(found[index] for index in sorted(found)))
        for stem, found in sorted(whole.items())
    ]


def choose_gguf(reference: HubReference, files: Sequence[HubFile]) -> GgufGroup | None:
    """The GGUF checkpoint that `reference` means; None when it names none and the repository has safetensors, or none.

    Raises:
        CheckpointError: there is no such file or quantization; the message lists those that there are.
    """
    groups = gguf_groups(files)
    if reference.file is not None:
        return _group_of_file(reference, groups, files)
    if reference.quantization is not None and reference.quantization.lower() != SAFETENSORS:
        wanted = reference.quantization.upper()
        found = [one for one in groups if one.quantization == wanted]
        found = found or [one for one in groups if one.quantization == f"UD-{wanted}"]
        if not found:
            names = sorted({one.quantization for one in groups if one.quantization})
            raise _not_there(reference, names or [one.path for one in safetensors_files(files)][:1])
        return min(found, key=lambda one: (len(one.stem), one.stem))
    if not groups or safetensors_files(files):
        return None
    ranks = {name: rank for rank, name in enumerate(_PREFERRED)}
    return min(groups, key=lambda one: (ranks.get(one.quantization or "", len(ranks)), len(one.stem), one.stem))


def _group_of_file(reference: HubReference, groups: list[GgufGroup], files: Sequence[HubFile]) -> GgufGroup | None:
    path = reference.file or ""
    for group in groups:
        if any(one.path == path for one in group.files):
            return group
    exact = [one for one in files if one.path == path]
    if exact and path.endswith(".safetensors"):
        return None
    if exact and path.lower().endswith(".gguf") and _SPLIT.fullmatch(path) is None:
        return GgufGroup(path[:-5], quantization_of(path), tuple(exact))
    if exact and path.lower().endswith(".gguf"):
        raise CheckpointError(
            text("{reference} is one part of a checkpoint of which other parts are missing in the repository; choose "
                 "another", reference=printable(reference, 160))
        )  # fmt: skip
    raise _not_there(reference, [group.files[0].path for group in groups])


def _not_there(reference: HubReference, names: Sequence[str]) -> CheckpointError:
    if not names:
        return CheckpointError(
            text("the repository {repo} holds no {wanted}, and no other GGUF or safetensors files; choose another "
                 "repository", repo=reference.repo, wanted=printable(reference.quantization or reference.file))
        )  # fmt: skip
    shown = ", ".join(printable(one) for one in names[:12]) + ("…" if names[12:] else "")
    return CheckpointError(
        text("the repository {repo} holds no {wanted}; it has: {names}", repo=reference.repo,
             wanted=printable(reference.quantization or reference.file), names=shown)
    )  # fmt: skip


def projector_of(files: Iterable[HubFile]) -> HubFile | None:
    """The image projector that belongs to a repository's GGUF files: in 16 bits where there are several."""
    found = [one for one in files if one.path.lower().endswith(".gguf") and _PROJECTOR in one.path.lower()]
    order = ("F16", "BF16", "Q8_0")
    return min(
        found,
        key=lambda one: (order.index(name) if (name := quantization_of(one.path)) in order else 9, one.path),
        default=None,
    )


def safetensors_files(files: Iterable[HubFile]) -> list[HubFile]:
    """The weights in safetensors of a repository, without a second copy of them in another layout."""
    return sorted(
        (one for one in files
         if one.path.endswith(".safetensors") and "/" not in one.path and not _DUPLICATES.fullmatch(one.path)),
        key=lambda one: one.path,
    )  # fmt: skip


def snapshot_files(files: Sequence[HubFile], weights: Sequence[HubFile]) -> tuple[HubFile, ...]:
    """What engines need of a safetensors repository: the weights, descriptions, the tokenizer, the licence.

    No code, no second copies of the weights (``original/``, ``consolidated``, other formats).
    """
    names = {one.path for one in weights}
    modules = any(one.path == "modules.json" for one in files)
    kept = [
        one for one in files
        if one.path in names or (one.path == INDEX and len(names) > 1)
        or ("/" not in one.path and _TOKENIZERS.fullmatch(one.path) and not _DUPLICATES.fullmatch(one.path))
        or (modules and _MODULES.fullmatch(one.path))
    ]  # fmt: skip
    return tuple(sorted(kept, key=lambda one: one.path))


def require_reference(reference: str) -> HubReference:
    """Like `parse_reference`.

    Raises:
        UsageError: it is no hub reference.
    """
    found = parse_reference(reference)
    if found is None:
        raise UsageError(
            text("'{reference}' is no name on a hub; write owner/name, owner/name:Q4_K_M or owner/name/file.gguf",
                 reference=printable(reference))
        )  # fmt: skip
    return found
