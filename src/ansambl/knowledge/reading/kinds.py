"""Which files are documents by their names, so that a folder of photos is one sentence and not a thousand."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping

_NAMES = (
    # sound, film, pictures that no OCR program takes, fonts
    ".mp3 .m4a .aac .ogg .opus .flac .wav .wma .mid .mp4 .m4v .mkv .avi .mov .wmv .webm .flv .mpg .mpeg .ico .icns "
    ".psd .ai .eps .raw .cr2 .nef .heic .heif .avif .bmp .tga .dds .xcf .ttf .otf .woff .woff2 .eot .ttc "
    # programs and what they are built of
    ".exe .dll .so .dylib .o .a .lib .obj .class .jar .war .pyc .pyo .pyd .whl .egg .wasm .node .apk .deb .rpm "
    ".msi .dmg .iso .img .bin .elf .ko .pdb .nupkg "
    # data of programs
    ".db .sqlite .sqlite3 .db-wal .db-shm .mdb .accdb .parquet .feather .arrow .orc .avro .npy .npz .pkl .pickle "
    ".joblib .h5 .hdf5 .pt .pth .ckpt .safetensors .gguf .ggml .onnx .tflite .mat .rdata .rds .dat .idx .pack "
    ".lock .torrent .swp .swo .crdownload .part .tmp .bak .map .blend .fbx .stl .dwg .dxf .step .kdbx .gpg .pgp "
    ".p12 .pfx .jks .keystore .vmdk .qcow2 .vdi .mo .tfstate"
)
_UNREAD = frozenset(_NAMES.split())
_IMAGES = frozenset((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".gif"))
_MOST = 8


def is_read(name: str, *, images: bool | None = None) -> bool:
    """Whether a file of this name may be a document.

    Images are, where an OCR program is there; `images` says so, or it is looked up.
    """
    lowered = name.lower()
    suffix = os.path.splitext(lowered)[1]  # noqa: PTH122 - called for each file of a disk
    if suffix in _IMAGES:
        if images is None:
            from ansambl.knowledge.reading import ocr

            images = bool(ocr.languages())
        return images
    return suffix not in _UNREAD and not lowered.endswith((".min.js", ".min.css"))


def is_hidden(name: str) -> bool:
    """Whether a part of a path begins with a dot, or is what macOS puts into archives."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def counted(names: Mapping[str, int]) -> str:
    """How many of each kind, the most frequent first: ``.jpg (12), .mp4 (3)``."""
    kinds: Counter[str] = Counter()
    for name, count in names.items():
        kinds[os.path.splitext(name)[1].lower() or name] += count  # noqa: PTH122 - names, not paths
    shown = [f"{kind} ({count})" for kind, count in sorted(kinds.items(), key=lambda one: (-one[1], one[0]))]
    return ", ".join(shown[:_MOST]) + (", …" if len(shown) > _MOST else "")
