"""The builds of Open WebUI: which there are, on which Python and system, and their locks."""

from __future__ import annotations

import re

import pytest

from ansambl.companions.open_webui.building import BUILDS, LOCKS, VERSION, build_of, check_python, check_system
from ansambl.companions.open_webui.installing import installed_program
from ansambl.companions.open_webui.records import NAME
from ansambl.domain.errors import NotSupportedError
from ansambl.engines.install.wheels import entries_of, package_names
from ansambl.engines.installations import InstallManifest, engine_folder, write_install_manifest


@pytest.mark.parametrize("name", BUILDS)
def test_each_lock_names_open_webui_and_hashes_for_all(name: str) -> None:
    content = (LOCKS / f"{NAME}-{name}.txt").read_text(encoding="utf-8")
    entries = entries_of(content)
    assert f"open-webui=={VERSION}" in {one.split(" ", 1)[0] for one in entries}
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", one) for one in entries)
    # No addresses: packages come from where the user's pip looks.
    assert "://" not in content


def test_slim_leaves_the_heavy_packages_out_and_full_does_not() -> None:
    slim, full = (package_names((LOCKS / f"{NAME}-{one}.txt").read_text(encoding="utf-8")) for one in ("slim", "full"))
    heavy = {"chromadb", "transformers", "sentence-transformers", "onnxruntime", "faster-whisper"}
    assert not heavy & slim
    assert heavy <= full
    # Torch for processors comes from the engines' lock; packages of CUDA would take gigabytes.
    assert not {one for one in slim | full if one == "torch" or one.startswith(("nvidia-", "triton"))}


def test_full_takes_torch_from_the_engines_lock() -> None:
    locks = build_of("full").locks
    assert [one.name.rpartition("/")[2] for one in locks] == ["open-webui-full", "torch-cpu"]
    assert build_of("full").size > build_of("slim").size


def test_an_unknown_build_is_refused() -> None:
    with pytest.raises(NotSupportedError, match="full, slim"):
        build_of("medium")


@pytest.mark.parametrize("pythons", [("3.12",), ("3.13", "3.11")])
def test_a_python_that_it_runs_on(pythons: tuple[str, ...]) -> None:
    check_python(pythons)


@pytest.mark.parametrize("pythons", [(), ("3.13",), ("3.10",)])
def test_another_python_is_refused_in_one_line(pythons: tuple[str, ...]) -> None:
    with pytest.raises(NotSupportedError, match=r"3\.11 or 3\.12") as refused:
        check_python(pythons)
    assert "\n" not in str(refused.value)


def test_the_full_build_is_for_linux() -> None:
    check_system(build_of("full"), "linux-x86_64")
    check_system(build_of("slim"), "macos-aarch64")
    with pytest.raises(NotSupportedError, match="macos-aarch64"):
        check_system(build_of("full"), "macos-aarch64")


def test_another_build_that_is_installed_does_not_count(tmp_path) -> None:
    folder = engine_folder(tmp_path, NAME)
    program = folder / build_of("slim").folder / build_of("slim").program
    program.parent.mkdir(parents=True)
    program.touch()
    manifest = InstallManifest(NAME, VERSION, "slim", str(program.relative_to(folder)), "-", "-", 0.0, 0)
    write_install_manifest(folder, manifest)
    assert installed_program(tmp_path, "slim") == program
    assert installed_program(tmp_path, "full") is None
