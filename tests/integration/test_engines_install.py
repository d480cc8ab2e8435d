"""Real installations with the real pip and the real cmake, out of packages that the tests make: no network is used."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest
from engine_packages import package_source, tiny, write_wheel

from ansambl.domain.engine import Surroundings
from ansambl.domain.errors import AnsamblError, UnavailableError
from ansambl.domain.hardware import Cpu, Machine, Memory
from ansambl.domain.units import GIB, MIB, Bytes
from ansambl.engines.install import installer, wheels
from ansambl.engines.install.archives import ArchiveInstaller
from ansambl.engines.install.folders import only_installer
from ansambl.engines.install.records import Archive, Build, Lock, Source, Stage, Way
from ansambl.engines.installations import find_installed

MACHINE = Machine("test", "Linux 6", Cpu("x", "x86_64", 2, 2, 2, None, ()), Memory(Bytes(8 * GIB), Bytes(6 * GIB)))
PYTHONS = {"3.11": getattr(sys, "_base_executable", sys.executable)}
LIMIT = 120.0


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return package_source(tmp_path, monkeypatch)


def run(build: Build, tmp_path: Path, progress=lambda _: None):
    return installer.install(build, tmp_path / "engines", MACHINE, progress, pythons=PYTHONS, locks=tmp_path / "locks")


def found(tmp_path: Path):
    return find_installed(Surroundings(engines_folder=str(tmp_path / "engines")), "tiny")


def test_an_environment_of_its_own_is_made_checked_and_declared_last(tmp_path: Path, packages: Path) -> None:
    build, stages = tiny(tmp_path, packages), list[Stage]()
    manifest = run(build, tmp_path, stages.append)
    here = found(tmp_path)
    assert here is not None
    assert (here.version, here.build, here.managed) == ("1.0", "cpu", True)
    said = subprocess.run(
        [here.path, "-c", "import tiny_engine, sys; print(sys.prefix)"], capture_output=True, check=True
    )
    assert said.stdout.decode().strip() == str(tmp_path / "engines" / "tiny" / "1.0-cpu" / "env")
    assert manifest.size > 0
    assert [one.counts for one in stages if one.total][-1] == "packages"
    folder = tmp_path / "engines" / "tiny"
    assert folder.stat().st_mode & 0o077 == 0, "private"
    assert not (folder / "1.0-cpu" / "scratch").exists(), "what was only needed meanwhile is gone"


def test_a_package_that_is_another_or_missing_is_refused_and_nothing_is_declared(
    tmp_path: Path, packages: Path
) -> None:
    build = tiny(tmp_path, packages)
    write_wheel(packages, "tiny_part", "2.0", {"tiny_part.py": b"ANSWER = 'evil'\n"})
    with pytest.raises(AnsamblError, match="its hash differs") as caught:
        run(build, tmp_path)
    assert "\n" not in str(caught.value)
    assert found(tmp_path) is None
    (packages / "tiny_part-2.0-py3-none-any.whl").unlink()
    with pytest.raises(AnsamblError, match="has not what is needed") as caught:
        run(build, tmp_path)
    assert "\n" not in str(caught.value)
    tiny(tmp_path, packages)
    run(build, tmp_path)
    assert found(tmp_path) is not None, "the next run goes on"


def test_an_engine_that_does_not_import_is_not_declared_and_is_unpacked_anew(tmp_path: Path, packages: Path) -> None:
    build = tiny(tmp_path, packages, check="import nobody_has_it")
    with pytest.raises(AnsamblError, match="nobody_has_it"):
        run(build, tmp_path)
    assert found(tmp_path) is None
    run(replace(build, check="import tiny_engine"), tmp_path)
    assert found(tmp_path) is not None


def test_the_index_of_the_maker_is_asked_only_for_what_is_not_there(tmp_path: Path, packages: Path) -> None:
    build = tiny(tmp_path, packages)
    elsewhere = tmp_path / "index" / "tiny-part"
    elsewhere.mkdir(parents=True)
    wheel = packages / "tiny_part-2.0-py3-none-any.whl"
    wheel.rename(elsewhere / wheel.name)
    (elsewhere / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>', encoding="utf-8")
    os.environ.pop("PIP_NO_INDEX")
    os.environ["PIP_INDEX_URL"] = (tmp_path / "empty").as_uri()
    try:
        with pytest.raises(AnsamblError):
            run(build, tmp_path)
        index = (tmp_path / "index").as_uri()
        run(replace(build, locks=(Lock("tiny", index),)), tmp_path)
    finally:
        os.environ.pop("PIP_INDEX_URL")
    assert found(tmp_path) is not None


BROKEN_OFF = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    sys.path[:0] = [{tests!r}, {tests!r} + "/../support"]
    import test_engines_install as t
    root, packages = Path({root!r}), Path({packages!r})
    build = t.tiny(root, packages)
    def stop_at(stage):
        if stage.name.template == {stage!r}:
            (root / "reached").touch()
            time.sleep(60)
    t.run(build, root, stop_at)
""")


@pytest.mark.parametrize(
    ("stage", "number"),
    [
        ("fetching packages", signal.SIGINT),
        ("unpacking packages", signal.SIGKILL),
        ("trying the engine", signal.SIGINT),
    ],
)
def test_broken_off_at_any_stage_it_is_not_used_and_the_next_run_goes_on(
    tmp_path: Path, packages: Path, stage: str, number: signal.Signals
) -> None:
    code = BROKEN_OFF.format(tests=str(Path(__file__).parent), root=str(tmp_path), packages=str(packages), stage=stage)
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    deadline = time.monotonic() + LIMIT
    while not (tmp_path / "reached").exists():
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert found(tmp_path) is None
    process.send_signal(number)
    process.communicate(timeout=LIMIT)
    assert process.returncode != 0
    assert found(tmp_path) is None
    build = tiny(tmp_path, packages)
    if stage != "fetching packages":
        # What was fetched before is not fetched again.
        for one in packages.iterdir():
            one.unlink()
    run(build, tmp_path)
    assert found(tmp_path) is not None


def test_an_environment_that_was_broken_off_before_its_pip_came_is_made_anew(
    tmp_path: Path, packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = wheels.run_program

    def broken_off(argv, *rest, **more):
        real([*argv, "--without-pip"], *rest, **more)
        raise KeyboardInterrupt

    build = tiny(tmp_path, packages)
    with monkeypatch.context() as patch:
        patch.setattr(wheels, "run_program", broken_off)
        with pytest.raises(KeyboardInterrupt):
            run(build, tmp_path)
    assert (tmp_path / "engines" / "tiny" / build.folder / "env" / "bin" / "python").exists()
    run(build, tmp_path)
    assert found(tmp_path) is not None


def test_two_installers_at_once_are_kept_apart(tmp_path: Path, packages: Path) -> None:
    build = tiny(tmp_path, packages)
    with only_installer(tmp_path / "engines", "tiny"), pytest.raises(UnavailableError, match="at this moment"):
        run(build, tmp_path)
    with only_installer(tmp_path / "engines", "tiny") as folder:
        assert not list(folder.glob("*"))
        folder.mkdir(exist_ok=True)
        # A program that the installer started there is no reason to stop what runs on the engine.
        with pytest.raises(UnavailableError, match="at this moment"):
            installer.standing("tiny", tmp_path / "engines")


def test_the_new_version_replaces_the_old_one_only_when_it_is_whole_and_is_removed_when_idle(
    tmp_path: Path, packages: Path
) -> None:
    run(tiny(tmp_path, packages), tmp_path)
    newer = tiny(tmp_path, packages, version="1.1")
    with pytest.raises(AnsamblError):
        run(replace(newer, check="import nobody_has_it"), tmp_path)
    here = found(tmp_path)
    assert here is not None
    assert here.version == "1.0"
    run(newer, tmp_path)
    here = found(tmp_path)
    assert here is not None
    assert here.version == "1.1"
    assert not (tmp_path / "engines" / "tiny" / "1.0-cpu").exists()
    # What runs on it keeps it from being removed.
    running = subprocess.Popen([here.path, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with pytest.raises(UnavailableError, match=str(running.pid)):
            installer.remove("tiny", tmp_path / "engines")
        assert found(tmp_path) is not None
    finally:
        running.communicate(b"\n", timeout=LIMIT)
    assert installer.remove("tiny", tmp_path / "engines") > 0
    assert found(tmp_path) is None
    assert not (tmp_path / "engines" / "tiny").exists()
    with pytest.raises(AnsamblError, match="not installed"):
        installer.remove("tiny", tmp_path / "engines")


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(tmp_path: Path, packages: Path) -> None:
    build = replace(tiny(tmp_path, packages), size=Bytes(1 << 60))
    with pytest.raises(AnsamblError, match="free"):
        run(build, tmp_path)
    assert not list((tmp_path / "engines" / "tiny" / build.folder).iterdir())


FULL = textwrap.dedent("""
    import resource, signal, sys
    from pathlib import Path
    sys.path[:0] = [{tests!r}, {tests!r} + "/../support"]
    import test_engines_install as t
    from ansambl.domain.errors import AnsamblError
    root, packages = Path({root!r}), Path({packages!r})
    build = t.tiny(root, packages)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    def small(stage):
        if stage.name.template == "fetching packages":
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    try:
        t.run(build, root, small)
    except AnsamblError as error:
        print(error)
        sys.exit(3)
""")


def test_a_disk_that_gets_full_meanwhile_is_one_line_and_the_next_run_goes_on(tmp_path: Path, packages: Path) -> None:
    code = FULL.format(tests=str(Path(__file__).parent), root=str(tmp_path), packages=str(packages))
    tiny(tmp_path, packages)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=LIMIT, check=False)
    assert done.returncode == 3, done.stderr.decode()
    assert len(done.stdout.decode().splitlines()) == 1
    assert found(tmp_path) is None
    run(tiny(tmp_path, packages), tmp_path)
    assert found(tmp_path) is not None


def test_nothing_is_fetched_offline(tmp_path: Path, packages: Path) -> None:
    build = tiny(tmp_path, packages)
    with pytest.raises(UnavailableError, match="--offline"):
        installer.install(build, tmp_path / "engines", MACHINE, lambda _: None, offline=True, pythons=PYTHONS)
    assert not (tmp_path / "engines").exists()


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        for path, (data, mode) in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(data), mode
            packed.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


SOURCE_FILES = {
    "setup.py": b"raise SystemExit('the code of the package must never be run')\n",
    "pyproject.toml": b"[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n",
    "tree/LICENSE": b"a licence\n",
    "tree/CMakeLists.txt": b"cmake_minimum_required(VERSION 3.16)\nproject(x CXX)\n"
    b"set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)\nadd_executable(llama-server main.cpp)\n"
    b"target_compile_definitions(llama-server PRIVATE NUMBER=${LLAMA_BUILD_NUMBER})\n",
    "tree/main.cpp": b'#include <cstdio>\nint main() { std::printf("version: %d\\n", NUMBER); }\n',
}


@pytest.mark.skipif(not installer.find_pythons(), reason="this Python cannot make environments")
def test_source_is_compiled_without_running_the_code_of_its_package(tmp_path: Path, packages: Path) -> None:
    content = _tar({f"tiny_source-7.0/{path}": (data, 0o644) for path, data in SOURCE_FILES.items()})
    (packages / "tiny_source-7.0.tar.gz").write_bytes(content)
    build = Build(
        engine="tiny", title="Tiny", version="b7", build="cpu", way=Way.SOURCE, systems=("linux-x86_64",),
        licence="MIT", sources=("this test",), program="bin/llama-server", size=Bytes(MIB),
        source=Source("tiny-source", "7.0", hashlib.sha256(content).hexdigest(), "tree", "7"),
    )  # fmt: skip
    stages: list[Stage] = []
    run(build, tmp_path, stages.append)
    here = found(tmp_path)
    assert here is not None
    assert subprocess.run([here.path], capture_output=True, check=True).stdout == b"version: 7\n"
    folder = tmp_path / "engines" / "tiny" / build.folder
    assert (folder / "LICENSE").read_bytes() == b"a licence\n"
    assert not (folder / "scratch").exists()
    compiled = [(one.done, one.total) for one in stages if one.name.template == "compiling" and one.total]
    assert compiled[-1] == (2, 2)


class _Pieces:
    """Stands for a connection that breaks once, in the middle of the first file."""

    def __init__(self, content: bytes, breaks: list[int]) -> None:
        self.content, self.breaks = content, breaks
        self.starts: list[int] = []

    def __call__(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def stream(self, url: str, start: int, length: int):
        self.starts.append(start)
        return _Stream(self.content, start, self.breaks.pop(0) if self.breaks else None)


class _Stream:
    def __init__(self, content: bytes, start: int, end: int | None) -> None:
        self.content, self.start, self.end = content, start, end

    def __enter__(self):
        yield self.content[self.start : self.end]
        if self.end is not None:
            from ansambl.domain.text import text

            raise UnavailableError(text("the connection broke"))

    def __exit__(self, *_: object) -> None:
        return None


def archive_build(content: bytes) -> Build:
    return Build(
        engine="tiny", title="Tiny", version="b1", build="cpu", way=Way.ARCHIVE, systems=("linux-x86_64",),
        licence="MIT", sources=("this test",), program="bin/llama-server", size=Bytes(MIB),
        archives=(Archive("https://example.org/tiny-b1.tar.gz", hashlib.sha256(content).hexdigest()),),
    )  # fmt: skip


PROGRAM = b"#!/bin/sh\necho 'version: 1'\n"


def test_an_archive_is_gone_on_with_after_a_broken_connection(tmp_path: Path) -> None:
    content = _tar({"tiny-b1/llama-server": (PROGRAM, 0o755), "tiny-b1/lib.so": (os.urandom(50_000), 0o644)})
    web = _Pieces(content, [20_000])
    said = ArchiveInstaller(archive_build(content), tmp_path / "here", web).run(lambda _: None)
    assert said == "version: 1"
    assert web.starts == [0, 20_000]
    assert (tmp_path / "here" / "bin" / "lib.so").exists()


def test_an_archive_that_is_not_the_pinned_one_is_not_kept(tmp_path: Path) -> None:
    content = _tar({"tiny-b1/llama-server": (PROGRAM, 0o755)})
    with pytest.raises(AnsamblError, match="not the file that was pinned"):
        ArchiveInstaller(archive_build(b"other"), tmp_path / "here", _Pieces(content, [])).run(lambda _: None)
    assert not [one for one in (tmp_path / "here").rglob("*") if one.is_file()]


def test_an_archive_that_leaves_its_folder_is_refused(tmp_path: Path) -> None:
    content = _tar({"tiny-b1/../../evil": (b"x", 0o644)})
    with pytest.raises(AnsamblError, match="cannot be unpacked"):
        ArchiveInstaller(archive_build(content), tmp_path / "here", _Pieces(content, [])).run(lambda _: None)
    assert not (tmp_path / "evil").exists()
