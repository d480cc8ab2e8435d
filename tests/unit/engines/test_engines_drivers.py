"""Which CUDA an installed engine brings along, by the names of the files beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansambl.engines.drivers import cuda_beside


@pytest.mark.parametrize(
    ("files", "cuda"),
    [
        (("env/lib/python3.11/site-packages/nvidia_cuda_runtime-13.0.96.dist-info",), "13.0"),
        (("env/lib/python3.12/site-packages/nvidia_cuda_runtime_cu12-12.8.90.dist-info",), "12.8"),
        (("env/lib/python3.11/site-packages/torch-2.9.0+cu129.dist-info",), "12.9"),
        (("env/lib/python3.11/site-packages/torch-2.13.0+cpu.dist-info",), None),
        (("env/bin/libcudart.so.12", "env/bin/libcudart.so.12.8.90"), "12.8"),
        (("env/lib/libcudart.so.13",), "13"),
        ((), None),
    ],
)
def test_the_cuda_beside_a_program(tmp_path: Path, files: tuple[str, ...], cuda: str | None) -> None:
    for name in files:
        (tmp_path / name).mkdir(parents=True)
    assert cuda_beside(str(tmp_path / "env" / "bin" / "python")) == cuda


def test_nothing_is_known_of_no_program() -> None:
    assert cuda_beside(None) is None
    assert cuda_beside("/nowhere/at/all/llama-server") is None
