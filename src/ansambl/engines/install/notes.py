"""What the user should read before a build is installed, by the names that ``data/builds.toml`` uses."""

from __future__ import annotations

from ansambl.domain.text import Text, text

NOTES: dict[str, Text] = {
    "mit-tree": text(
        "the source archive comes in a Python package under AGPL-3.0, of which nothing is used or run: only the tree "
        "of llama.cpp inside it, which is under MIT, is unpacked and compiled"
    ),
    "cuda-libraries": text(
        "it brings NVIDIA's CUDA libraries, which are under NVIDIA's own licence (the CUDA toolkit's end user licence "
        "agreement)"
    ),
    "cpu-only": text("it runs on the processor only, slowly: for trying, not for big models"),
    "intel-libraries": text("it brings Intel's OpenMP runtime, which is under Intel's own licence"),
    "rocm-runtime": text("it needs ROCm 10 on this machine (the libraries rocBLAS and hipBLAS)"),
    "vulkan-driver": text("it needs a Vulkan driver on this machine (libvulkan and the GPU maker's part of it)"),
}
