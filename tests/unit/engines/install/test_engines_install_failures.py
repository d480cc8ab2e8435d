import errno
from dataclasses import replace
from pathlib import Path

import pytest

from ansambl.domain.engine import Surroundings
from ansambl.domain.errors import UnavailableError
from ansambl.domain.text import text
from ansambl.domain.units import GIB, Bytes
from ansambl.engines.install.data import known_builds
from ansambl.engines.install.failures import InstallError, explain_os, explain_program, last_words
from ansambl.engines.install.folders import bytes_below, free_bytes, make_private, only_installer
from ansambl.engines.install.installer import announce, check_room
from ansambl.engines.installations import InstallManifest, find_installed, write_install_manifest

BUILD = replace(next(one for one in known_builds() if one.engine == "vllm"), size=Bytes(3 * GIB), scratch=Bytes(GIB))
DOING = text("fetching packages")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n", "4.0 GiB free"),
        ("OSError: [Errno 27] File too large\n", "4.0 GiB free"),
        (
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\nExpected sha256 1\n",
            "hash differs",
        ),
        ("ERROR: No matching distribution found for torch==2.13.0+cpu\n", "has not what is needed"),
        ("something\nninja: build stopped: subcommand failed.\n", "subcommand failed"),
        ("", "(-)"),
    ],
)
def test_what_a_program_said_becomes_one_line(words: str, expected: str, tmp_path: Path) -> None:
    error = explain_program(BUILD, DOING, words, tmp_path)
    assert isinstance(error, InstallError)
    assert expected in str(error)
    assert "\n" not in str(error)


def test_a_broken_network_is_worth_another_try(tmp_path: Path) -> None:
    words = "WARNING: Retrying\nERROR: HTTPSConnectionPool: Max retries exceeded (Name or service not known)\n"
    assert isinstance(explain_program(BUILD, DOING, words, tmp_path), UnavailableError)


def test_the_error_is_chosen_out_of_what_follows_it() -> None:
    assert last_words("one\nERROR: the reason\n\n[notice] a newer pip is there\n") == "ERROR: the reason"
    assert last_words("\x1b[31mred\x1b[0m") == " [31mred [0m"
    assert len(last_words("x" * 5000)) == 300


def test_a_folder_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    denied = explain_os(BUILD, PermissionError(errno.EACCES, "Permission denied"), tmp_path)
    assert "ANSAMBL_DATA" in str(denied)
    assert "4.0 GiB" in str(explain_os(BUILD, OSError(errno.ENOSPC, "full"), tmp_path))


def test_room_counts_what_an_earlier_try_has_left(tmp_path: Path) -> None:
    needed = free_bytes(tmp_path) + GIB
    build = replace(BUILD, size=Bytes(needed), scratch=Bytes(0))
    before = announce(build, tmp_path)
    with pytest.raises(InstallError):
        check_room(before)
    left = tmp_path / build.engine / build.folder
    make_private(left)
    (left / "half").write_bytes(b"x" * 1000)
    assert announce(build, tmp_path).here == 1000
    check_room(announce(replace(build, size=Bytes(1)), tmp_path))


def test_folders_are_private_and_those_above_stay_as_they_are(tmp_path: Path) -> None:
    above = tmp_path / "above"
    above.mkdir(mode=0o755)
    made = make_private(above / "a" / "b")
    assert made.stat().st_mode & 0o777 == 0o700
    assert made.parent.stat().st_mode & 0o777 == 0o700
    assert above.stat().st_mode & 0o777 == 0o755


def test_one_installer_at_a_time_and_the_next_when_it_is_done(tmp_path: Path) -> None:
    with only_installer(tmp_path, "vllm"):
        with pytest.raises(UnavailableError), only_installer(tmp_path, "vllm"):
            pass
        with only_installer(tmp_path, "sglang"):
            pass
    with only_installer(tmp_path, "vllm") as folder:
        assert folder == tmp_path / "vllm"


def test_bytes_below_a_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "one").write_bytes(b"12345")
    (tmp_path / "two").write_bytes(b"123")
    assert bytes_below(tmp_path) == 8
    assert bytes_below(tmp_path / "missing") == 0


def test_a_manifest_counts_only_while_its_program_is_there(tmp_path: Path) -> None:
    folder = make_private(tmp_path / "vllm")
    around = Surroundings(engines_folder=str(tmp_path))
    manifest = InstallManifest("vllm", "0.32.0", "cpu", "0.32.0-cpu/env/bin/python", "Apache-2.0", "here", 1.0, 5)
    write_install_manifest(folder, manifest)
    assert find_installed(around, "vllm") is None, "its program is missing"
    program = folder / manifest.program
    make_private(program.parent)
    program.touch()
    found = find_installed(around, "vllm")
    assert found is not None
    assert (found.version, found.build, found.path, found.managed) == ("0.32.0", "cpu", str(program), True)
    announced = announce(replace(BUILD, version="0.32.0", build="cpu"), tmp_path)
    assert announced.is_done
    assert not announce(replace(BUILD, version="0.33.0", build="cpu"), tmp_path).is_done
