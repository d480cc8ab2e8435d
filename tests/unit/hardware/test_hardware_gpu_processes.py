"""What processes hold on GPUs, by the words of the drivers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansambl.hardware.cgroups import oom_kills
from ansambl.hardware.probes.gpu_processes import held_by_gpu, held_on_gpus


class Library:
    """Stands for pynvml: the processes of each GPU."""

    class NVMLError(Exception):
        pass

    def __init__(self, *gpus: list[tuple[int, int | None]], broken: bool = False) -> None:
        self.gpus = gpus
        self.broken = broken
        self.open = 0

    def __getattr__(self, name: str) -> Any:
        calls = {
            "nvmlInit": self._init, "nvmlShutdown": self._close, "nvmlDeviceGetCount": lambda: len(self.gpus),
            "nvmlDeviceGetHandleByIndex": lambda index: index, "nvmlDeviceGetUUID": lambda index: f"GPU-{index}",
            "nvmlDeviceGetComputeRunningProcesses": lambda index: [
                SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in self.gpus[index]
            ],
        }  # fmt: skip
        if name not in calls:
            raise AttributeError(name)
        return calls[name]

    def _init(self) -> None:
        if self.broken:
            raise self.NVMLError
        self.open += 1

    def _close(self) -> None:
        self.open -= 1


def test_all_gpus_and_processes_are_added_up(tmp_path: Path) -> None:
    library = Library([(10, 1000), (11, 500), (99, 7)], [(10, 30)])
    assert held_on_gpus((10, 11), procfs=tmp_path, library=library) == 1530
    assert library.open == 0


def test_each_gpu_is_told_apart_by_its_identifier(tmp_path: Path) -> None:
    fdinfo = tmp_path / "11" / "fdinfo" / "5"
    written(fdinfo.parent, "5", "drm-pdev:\t0000:03:00.0\ndrm-client-id:\t7\ndrm-memory-vram:\t2 MiB\n")
    library = Library([(10, 1000), (11, 500), (99, 7)], [(10, 30)])
    found = held_by_gpu((10, 11), procfs=tmp_path, library=library)
    assert found == {"GPU-0": 1500, "GPU-1": 30, "0000:03:00.0": 2 * 1024 * 1024}
    assert held_by_gpu((), procfs=tmp_path, library=library) == {}


@pytest.mark.parametrize("library", [Library(), Library([(99, 7)]), Library([(10, None)]), Library(broken=True)])
def test_what_nobody_tells_is_unknown(tmp_path: Path, library: Library) -> None:
    assert held_on_gpus((10,), procfs=tmp_path, library=library) is None


def test_a_client_of_the_kernels_driver_counts_once(tmp_path: Path) -> None:
    folder = tmp_path / "10" / "fdinfo"
    folder.mkdir(parents=True)
    words = "pos:\t0\ndrm-driver:\tamdgpu\ndrm-client-id:\t5\ndrm-memory-vram:\t2048 KiB\ndrm-memory-gtt: \t8 KiB\n"
    (folder / "3").write_text(words, encoding="utf-8")
    (folder / "4").write_text(words, encoding="utf-8")
    (folder / "5").write_text(words.replace("id:\t5", "id:\t6").replace("2048 KiB", "1 MiB"), encoding="utf-8")
    (folder / "6").write_text("pos:\t0\nflags:\t02\n", encoding="utf-8")
    assert held_on_gpus((10,), procfs=tmp_path, library=Library(broken=True)) == (2048 + 1024) * 1024


def written(folder: Path, name: str, content: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content, encoding="utf-8")


def test_kills_by_the_kernel_are_counted_in_our_group_first(tmp_path: Path) -> None:
    sysfs, procfs = tmp_path / "sys", tmp_path / "proc"
    assert oom_kills(sysfs, procfs) is None
    written(procfs, "vmstat", "nr_free_pages 5\noom_kill 7\n")
    assert oom_kills(sysfs, procfs) == 7
    written(procfs, "self/cgroup", "4:memory:/job\n0::/unit\n")
    written(sysfs, "fs/cgroup/memory/job/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    assert oom_kills(sysfs, procfs) == 3
    written(sysfs, "fs/cgroup/unit/memory.events", "low 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n")
    assert oom_kills(sysfs, procfs) == 1
