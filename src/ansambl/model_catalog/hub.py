"""A repository on a model hub: its files with sizes and hashes, its licence, by the hub's own JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

import msgspec

from ansambl.domain.errors import CheckpointError
from ansambl.domain.text import text
from ansambl.domain.units import Bytes
from ansambl.model_catalog.catalog import catalog, nearest_names
from ansambl.model_catalog.printable import printable
from ansambl.model_catalog.references import HubFile
from ansambl.model_catalog.web import NotThereError, Web, endpoint

_MAX_ANSWER = 32 << 20
_MAX_FILES = 50_000
_Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]
_Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{40,64}$")]


class _Large(msgspec.Struct):
    size: _Size | None = None
    sha256: _Hash | None = None


class _Sibling(msgspec.Struct):
    rfilename: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    size: _Size | None = None
    blob: _Hash | None = msgspec.field(default=None, name="blobId")
    lfs: _Large | None = None


class _Card(msgspec.Struct):
    licence: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"null"), name="license")
    licence_name: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"null"), name="license_name")


class _Answer(msgspec.Struct):
    sha: _Hash
    siblings: Annotated[list[_Sibling], msgspec.Meta(max_length=_MAX_FILES)]
    gated: bool | str = False
    card: _Card | None = msgspec.field(default=None, name="cardData")
    tags: list[str] = msgspec.field(default_factory=list)


@dataclass(frozen=True, slots=True)
class HubRepository:
    """A repository at one commit, `revision`. `gated` means that its licence must be accepted before the download."""

    repo: str
    revision: str
    files: tuple[HubFile, ...]
    licence: str | None
    gated: bool

    def address(self, file: HubFile) -> str:
        """Where the file's bytes are."""
        return f"{endpoint()}/{self.repo}/resolve/{self.revision}/{quote(file.path)}"

    @property
    def page(self) -> str:
        """Where people read about it, its licence among that."""
        return f"{endpoint()}/{self.repo}"

    def file(self, path: str) -> HubFile | None:
        """The file of this path; None when there is none."""
        return next((one for one in self.files if one.path == path), None)


def read_repository(web: Web, repo: str) -> HubRepository:
    """Ask the hub what `repo` (``"owner/name"``) holds at the head of its main branch.

    Raises:
        CheckpointError: there is no such repository, or the answer is not the hub's.
        UnavailableError: the hub cannot be reached.
    """
    try:
        content = web.whole(f"{endpoint()}/api/models/{repo}/revision/main?blobs=true", _MAX_ANSWER)
    except NotThereError as failure:
        near = [catalog()[name].repo for name in nearest_names(repo)]
        if not near or repo in near:
            raise
        raise NotThereError(
            text("the hub has no {repo}, or it is private; the nearest names that Ansambl knows: {names}",
                 repo=repo, names=", ".join(near))
        ) from failure  # fmt: skip
    try:
        found = msgspec.json.decode(content, type=_Answer)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as failure:
        raise CheckpointError(
            text("what the hub says of {repo} is not as its interface wants it ({reason}); check HF_ENDPOINT",
                 repo=repo, reason=printable(failure, 120))
        ) from failure  # fmt: skip
    files = [file for one in found.siblings if _is_safe(one.rfilename) and (file := _file(one))]
    if found.siblings and not files:
        raise CheckpointError(
            text("what the hub says of {repo} names no file with its size; check HF_ENDPOINT", repo=repo)
        )
    licence = _word(found.card.licence) if found.card else None
    if licence == "other" and found.card:
        licence = _word(found.card.licence_name) or licence
    tagged = next((tag.removeprefix("license:") for tag in found.tags if tag.startswith("license:")), None)
    return HubRepository(
        repo, found.sha, tuple(sorted(files, key=lambda one: one.path)),
        licence or (printable(tagged) if tagged else None), found.gated not in {False, ""},
    )  # fmt: skip


def _is_safe(path: str) -> bool:
    """Whether a path of a repository stays inside the folder that it is put in."""
    parts = path.split("/")
    return path.isprintable() and "\\" not in path and all(one and one not in {".", ".."} for one in parts)


def _file(one: _Sibling) -> HubFile | None:
    size = one.lfs.size if one.lfs and one.lfs.size is not None else one.size
    if size is None:
        return None
    # Of a large file the commit holds a pointer, so git's hash is not of its content.
    return HubFile(one.rfilename, Bytes(size), one.lfs.sha256 if one.lfs else None, None if one.lfs else one.blob)


def _word(raw: msgspec.Raw) -> str | None:
    """A card's field: a word, or the words of a list."""
    try:
        value = msgspec.json.decode(bytes(raw))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    if isinstance(value, list):
        value = ", ".join(one for one in value if isinstance(one, str))
    return printable(value) if isinstance(value, str) and value else None
