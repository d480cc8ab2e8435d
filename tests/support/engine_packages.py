"""A package source of a test's own: wheels that are written here, and a tiny engine made of two of them."""

from __future__ import annotations

import base64
import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from ansambl.domain.units import MIB, Bytes
from ansambl.engines.install.records import Build, Lock, Way

BIG = b"# a long remark\n" * 4_000


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write_wheel(folder: Path, name: str, version: str, files: dict[str, bytes]) -> str:
    """A wheel of pure Python; returns its SHA-256."""
    info = f"{name}-{version}.dist-info"
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = []
    for path, data in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record.append(f"{path},sha256={digest},{len(data)}")
    record.append(f"{info}/RECORD,,")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w") as packed:
        for path, data in {**content, f"{info}/RECORD": "\n".join(record).encode()}.items():
            packed.writestr(zipfile.ZipInfo(path), data)
    return _sum(target.read_bytes())


def package_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that stands for the package source, and pip told to look nowhere else."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for name in [one for one in os.environ if one.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def tiny(tmp_path: Path, packages: Path, *, check: str = "import tiny_engine", version: str = "1.0") -> Build:
    """An engine of two packages, with its lock."""
    first = write_wheel(packages, "tiny_engine", version, {"tiny_engine.py": BIG + b"import tiny_part\n"})
    second = write_wheel(packages, "tiny_part", "2.0", {"tiny_part.py": b"ANSWER = 42\n"})
    locks = tmp_path / "locks"
    locks.mkdir(exist_ok=True)
    (locks / "tiny.txt").write_text(
        f"tiny-engine=={version} \\\n    --hash=sha256:{first}\n"
        f"tiny-part==2.0 ; sys_platform != 'nowhere' \\\n    --hash=sha256:{second}\n"
        f"tiny-other==3.0 ; sys_platform == 'nowhere' \\\n    --hash=sha256:{'0' * 64}\n",
        encoding="utf-8",
    )
    return Build(
        engine="tiny", title="Tiny", version=version, build="cpu", way=Way.WHEELS, systems=("linux-x86_64",),
        licence="MIT", sources=("this test",), program="env/bin/python", size=Bytes(MIB), locks=(Lock("tiny"),),
        check=f"{check}; print('tiny {version}')",
    )  # fmt: skip
