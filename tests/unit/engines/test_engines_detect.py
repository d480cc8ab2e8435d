"""Whether the bundled llama.cpp can be used on a machine."""

import dataclasses
import importlib.metadata

from ansambl.domain.engine import Installed, NotUsable, Surroundings
from ansambl.domain.hardware import Cpu, Machine, Memory
from ansambl.engines.adapters import llama_cpp_bundled
from ansambl.engines.adapters.llama_cpp_bundled import LlamaCppBundled

CPU = Cpu(
    model="x", architecture="x86_64", physical_cores=1, logical_cores=1, usable_cores=1, isa_level=None, flags=("avx2",)
)


def machine(**changes):
    return Machine(name="m", system="Linux", cpu=dataclasses.replace(CPU, **changes), memory=Memory(1, 1))


def around(**changes):
    return Surroundings(machine=machine(**changes))


def test_it_names_the_version_of_the_wheel():
    assert LlamaCppBundled().detect(around()) == Installed(importlib.metadata.version("xllamacpp"))


def test_a_processor_without_avx2_cannot_run_it():
    found = LlamaCppBundled().detect(around(flags=("sse4_2", "avx")))
    assert isinstance(found, NotUsable)
    assert "AVX2" in found.reason.render()


def test_unknown_flags_and_other_architectures_are_no_obstacle():
    assert isinstance(LlamaCppBundled().detect(around(flags=())), Installed)
    assert isinstance(LlamaCppBundled().detect(around(architecture="aarch64", flags=("asimd",))), Installed)


def test_a_missing_wheel_is_told(monkeypatch):
    monkeypatch.setattr(llama_cpp_bundled.importlib.util, "find_spec", lambda _: None)
    found = LlamaCppBundled().detect()
    assert isinstance(found, NotUsable)
    assert "pip install xllamacpp" in found.how_to_fix.render()
