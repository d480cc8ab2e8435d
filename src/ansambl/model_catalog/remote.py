"""What a checkpoint elsewhere is: its headers read by range requests, without downloading it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote, urlsplit

from ansambl.domain.catalog import Inspection
from ansambl.domain.errors import CheckpointError, UsageError
from ansambl.domain.text import text
from ansambl.domain.units import Bytes
from ansambl.model_catalog import gguf, safetensors
from ansambl.model_catalog.config_json import MAX_FILE, SAMPLING_NAME, decode_config, decode_sampling
from ansambl.model_catalog.failures import named
from ansambl.model_catalog.gguf import GgufError, GgufHeader, GgufIncompleteError, parse_header
from ansambl.model_catalog.hub import HubRepository, read_repository
from ansambl.model_catalog.inspection import SafetensorsParts, gguf_inspection, safetensors_inspection
from ansambl.model_catalog.printable import printable
from ansambl.model_catalog.references import (
    INDEX,
    HubFile,
    HubReference,
    choose_gguf,
    is_address,
    require_reference,
    safetensors_files,
)
from ansambl.model_catalog.safetensors import MAX_HEADER, MAX_INDEX, SafetensorsError, StoredTensor
from ansambl.model_catalog.web import Web

_FIRST, _GROWTH = 512 << 10, 4
_FIRST_SAFETENSORS = 128 << 10
_AT_ONCE = 8


def inspect_remote(reference: str, *, offline: bool = False) -> Inspection:
    """Read the headers of a checkpoint on a hub or at an address; no weights are fetched.

    Args:
        reference: ``owner/name``, ``owner/name:Q4_K_M``, ``owner/name/file.gguf``, or the http(s) address of a GGUF
            or safetensors file.
        offline: refuse instead of asking the network.

    Raises:
        UsageError: it is no such reference.
        CheckpointError: there is no such checkpoint, it may not be read, or its headers make no sense.
        UnavailableError: nothing may be requested, or the other side cannot be reached or is too slow.
    """
    if is_address(reference):
        with Web(offline=offline) as web:
            return _inspect_address(web, reference)
    wanted = require_reference(reference)
    with Web(offline=offline) as web:
        return inspect_repository(web, wanted, read_repository(web, wanted.repo))


def inspect_repository(web: Web, wanted: HubReference, repository: HubRepository) -> Inspection:
    """The same for a repository whose files are known already.

    Raises:
        CheckpointError: it has no such checkpoint, or a header makes no sense.
        UnavailableError: the hub cannot be reached.
    """
    with named(wanted):
        group = choose_gguf(wanted, repository.files)
        if group is not None:
            headers = _gguf_headers(web, [(repository.address(one), one) for one in group.files])
            found = gguf_inspection(str(wanted), headers)
            return dataclasses.replace(
                found,
                licence=found.licence or repository.licence,
                quantization=found.quantization or group.quantization,
            )
        return dataclasses.replace(_inspect_snapshot(web, wanted, repository), licence=repository.licence)


def _inspect_snapshot(web: Web, wanted: HubReference, repository: HubRepository) -> Inspection:
    index, files = None, safetensors_files(repository.files)
    described = repository.file("config.json")
    if wanted.file is not None:
        files = [one for one in repository.files if one.path == wanted.file]
    elif repository.file(INDEX) is not None:
        index = safetensors.parse_index(web.whole(_address(repository, INDEX), MAX_INDEX))
        lost = [name for name in index.files if repository.file(name) is None]
        if lost:
            message = f"its part {lost[0]} is missing"
            raise SafetensorsError(message)
        files = [one for one in repository.files if one.path in set(index.files)]
    if not files and described is None:
        raise CheckpointError(
            text("the repository {repo} holds no model: no config.json, no safetensors and no GGUF files; choose "
                 "another", repo=repository.repo)
        )  # fmt: skip
    config = web.whole(_address(repository, "config.json"), MAX_FILE) if described else None
    advice = b"" if repository.file(SAMPLING_NAME) is None else web.piece(
        _address(repository, SAMPLING_NAME), 0, 64 << 10).content  # fmt: skip
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        tensors = list(pool.map(lambda one: _tensors(web, repository.address(one), one.size), files))
    return safetensors_inspection(
        str(wanted),
        SafetensorsParts(
            (lambda: decode_config(config)) if config is not None else None,
            index,
            [(one.path, one.size, found) for one, (_, found) in zip(files, tensors, strict=True)],
            decode_sampling(advice),
        ),
    )


def _address(repository: HubRepository, path: str) -> str:
    return repository.address(HubFile(path, size=Bytes(0)))


def _inspect_address(web: Web, address: str) -> Inspection:
    path = unquote(urlsplit(address).path)
    name = printable(path.rpartition("/")[2])
    with named(printable(address, 200)):
        if path.lower().endswith(".gguf"):
            size, header = _gguf_header(web, address, None)
            if header.split_count > 1:
                message = f"it is one of {header.split_count} parts; give the repository's name instead of an address"
                raise GgufError(message)
            return gguf_inspection(address, [(name, size, header)])
        if path.lower().endswith(".safetensors"):
            size, tensors = _tensors(web, address, None)
            return safetensors_inspection(address, SafetensorsParts(None, None, [(name, size, tensors)]))
    raise UsageError(
        text("the address {address} is neither of a .gguf nor of a .safetensors file; give one that is",
             address=printable(address, 160))
    )  # fmt: skip


def _gguf_headers(web: Web, places: Sequence[tuple[str, HubFile]]) -> list[tuple[str, int, GgufHeader]]:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(lambda one: _gguf_header(web, one[0], one[1].size), places))
    return [(file.path, size, header) for (_, file), (size, header) in zip(places, found, strict=True)]


def _gguf_header(web: Web, address: str, size: int | None) -> tuple[int, GgufHeader]:
    """The size of the file at `address` and its header, from as few of its first bytes as hold it."""
    content, wanted = b"", _FIRST
    while True:
        piece = web.piece(address, len(content), wanted - len(content))
        content += piece.content
        size = piece.total if piece.total is not None else size
        try:
            header = parse_header(content)
        except GgufIncompleteError:
            if len(content) < wanted or (size is not None and len(content) >= size):
                raise
        else:
            if size is None:
                message = "the server does not tell how long it is"
                raise GgufError(message)
            return size, header
        if wanted >= gguf.MAX_HEADER:
            raise GgufError(gguf.TOO_LONG)
        wanted = min(wanted * _GROWTH, gguf.MAX_HEADER)


def _tensors(web: Web, address: str, size: int | None) -> tuple[int, tuple[StoredTensor, ...]]:
    """The size of the file at `address` and its tensors."""
    piece = web.piece(address, 0, _FIRST_SAFETENSORS)
    size = piece.total if piece.total is not None else size
    if size is None:
        message = "the server does not tell how long it is"
        raise SafetensorsError(message)
    length = safetensors.header_length(piece.content[:8], size)
    content = piece.content[8 : 8 + length]
    if len(content) < length <= MAX_HEADER:
        content += web.piece(address, 8 + len(content), length - len(content)).content
    return size, safetensors.parse_tensors(content, size)
