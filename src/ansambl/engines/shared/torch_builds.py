"""What an engine that computes with PyTorch was built for, as the version of its PyTorch tells."""

from __future__ import annotations

import platform
import re

_BUILDS = (("cu", "cuda"), ("rocm", "rocm"), ("cpu", "cpu"), ("xpu", "xpu"))


def build_of(version: str | None) -> str | None:
    """The build of a version such as ``2.9.0+cu128``; None when there is none.

    Without a local part it is the package index's own: for CUDA, on a Mac for Metal.
    """
    if version is None:
        return None
    local = version.partition("+")[2]
    usual = "metal" if platform.system() == "Darwin" else "cuda"
    return next((build for start, build in _BUILDS if local.startswith(start)), usual)


def toolkit_of(version: str | None) -> int | None:
    """The major version of CUDA that a version such as ``2.9.0+cu128`` names; None where it names none."""
    match = re.search(r"\+cu(\d\d)", version or "")
    return int(match[1]) if match else None
