"""The inventory over recorded machines, a fake NVML, and whatever bytes the system's files may hold."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansambl.domain.hardware import Gpu, Machine
from ansambl.hardware import cgroups
from ansambl.hardware.inventory import detect, machine_to_json, system_name
from ansambl.hardware.probes import amd, cpu, disk, memory, nvidia

RECORDED = Path(__file__).parents[2] / "data" / "hardware"
KIB, GIB = 2**10, 2**30


class NvmlError(Exception):
    pass


class FakeNvml:
    """Stands for the module pynvml: a function of a device is a value, or an error that it raises."""

    NVMLError = NvmlError

    def __init__(self, *devices: dict, start: Exception | None = None) -> None:
        self._devices = devices
        self._start = start
        self.open = False

    def nvmlInit(self):  # noqa: N802 - NVML's own name
        if self._start:
            raise self._start
        self.open = True

    def nvmlShutdown(self):  # noqa: N802 - NVML's own name
        self.open = False

    def nvmlSystemGetDriverVersion(self):  # noqa: N802 - NVML's own name
        return b"580.95.05"

    def nvmlDeviceGetCount(self):  # noqa: N802 - NVML's own name
        return len(self._devices)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802 - NVML's own name
        return self._devices[index]

    def __getattr__(self, function):
        def answer(handle):
            value = handle[function.removeprefix("nvmlDeviceGet")]
            if isinstance(value, Exception):
                raise value
            return value

        if not function.startswith("nvmlDeviceGet"):
            raise AttributeError(function)
        return answer


NO_NVML = FakeNvml(start=NvmlError("NVML Shared Library Not Found"))
PRO_6000 = {
    "Name": "NVIDIA RTX PRO 6000 Blackwell Workstation Edition",
    "MemoryInfo": SimpleNamespace(total=102_641_958_912, used=614_465_536, free=102_027_493_376),
    "CudaComputeCapability": (12, 0),
    "UUID": "GPU-0f1e2d3c-0000-0000-0000-000000000001",
}
GB10 = {
    "Name": b"NVIDIA GB10",
    "MemoryInfo": NvmlError("Not Supported"),
    "CudaComputeCapability": (12, 1),
    "UUID": "GPU-2dee1e25-b3b5-007e-2b55-79f2d0f2ebe5",
}


def recorded(name: str, nvml: FakeNvml = NO_NVML) -> Machine:
    root = RECORDED / name
    return detect(name=name, sysfs=root / "sys", procfs=root / "proc", share=root / "share", nvml=nvml)


def test_a_desktop_with_a_radeon_and_the_processors_own_graphics():
    machine = recorded("ryzen-7950x")
    assert machine.cpu.model == "AMD Ryzen 9 7950X 16-Core Processor"
    assert (machine.cpu.physical_cores, machine.cpu.logical_cores, machine.cpu.usable_cores) == (16, 32, 32)
    assert machine.cpu.isa_level == "x86-64-v4"
    assert {"avx2", "avx512f", "avx512_bf16", "avx512_vnni"} <= set(machine.cpu.flags)
    assert (machine.memory.total, machine.memory.limit) == (131018036 * KIB, None)
    graphics, card = machine.gpus
    assert (card.index, card.name, card.capability) == (1, "AMD Radeon RX 7900 XTX", "gfx1100")
    assert (card.memory_total, card.memory_used, card.integrated) == (25753026560, 1073741824, False)
    assert (card.identifier, card.memory_shared) == ("0000:03:00.0", None)
    assert (graphics.capability, graphics.integrated, graphics.memory_shared) == ("gfx1036", True, 67081234432)
    assert machine.notes == ()


def test_an_apu_counts_the_ram_that_its_driver_maps_and_says_so():
    (gpu,) = recorded("strix-halo").gpus
    assert gpu == Gpu(
        index=0, vendor="amd", name="AMD Radeon 8060S Graphics", memory_total=536870912 + 67088746496,
        memory_used=268435456 + 41943040, capability="gfx1151", identifier="0000:c3:00.0", integrated=True,
        memory_shared=67088746496,
    )  # fmt: skip


def test_a_container_with_version_1_limits_on_a_machine_whose_nvidia_driver_is_missing():
    machine = recorded("core-13900k")
    assert (machine.cpu.physical_cores, machine.cpu.logical_cores) == (24, 32)
    # 16 CPUs by affinity, 6.5 by quota.
    assert machine.cpu.usable_cores == 6
    assert (machine.cpu.isa_level, machine.cpu.flags) == ("x86-64-v3", ("avx", "avx2", "avx_vnni", "f16c", "fma"))
    assert (machine.memory.limit, machine.memory.usable, machine.memory.available) == (32 * GIB,) * 3
    assert [(gpu.vendor, gpu.memory_total) for gpu in machine.gpus] == [("intel", None)]
    (note,) = machine.notes
    assert "NVML Shared Library Not Found" in str(note)
    assert machine.system == "Linux 5.15.167.4-microsoft-standard-WSL2 (WSL2)"


def test_a_virtual_machine_without_gpu_and_limit():
    machine = recorded("epyc-vm")
    assert (machine.cpu.model, machine.cpu.usable_cores, machine.cpu.isa_level) == ("AMD EPYC", 2, "x86-64-v4")
    assert (machine.gpus, machine.notes, machine.memory.limit) == ((), (), None)


def test_a_small_arm_board_in_a_service_with_version_2_limits():
    machine = recorded("raspberry-pi-5")
    assert (machine.cpu.model, machine.cpu.physical_cores, machine.cpu.usable_cores) == ("Cortex-A76", 4, 3)
    assert (machine.cpu.isa_level, machine.cpu.flags) == ("armv8.2-a", ("dotprod", "fp16", "neon"))
    assert machine.memory.limit == 6 * GIB
    assert machine.gpus == ()


def test_nvml_tells_memory_capability_driver_and_identifier():
    library = FakeNvml(PRO_6000)
    (gpu,) = recorded("epyc-vm", library).gpus
    assert (gpu.vendor, gpu.name, gpu.capability) == ("nvidia", PRO_6000["Name"], "12.0")
    assert (gpu.memory_total, gpu.memory_used, gpu.integrated) == (102_641_958_912, 614_465_536, False)
    assert (gpu.driver, gpu.identifier) == ("580.95.05", PRO_6000["UUID"])
    assert not library.open


@pytest.mark.parametrize("answer", [NvmlError("Not Supported"), SimpleNamespace(total=0, used=0)])
def test_a_gpu_in_unified_memory_has_none_of_its_own(answer):
    machine = recorded("epyc-vm", FakeNvml({**GB10, "MemoryInfo": answer}))
    (gpu,) = machine.gpus
    assert (gpu.name, gpu.capability, gpu.integrated) == ("NVIDIA GB10", "12.1", True)
    assert (gpu.memory_total, gpu.memory_shared) == (None, None)
    assert "works in the machine's RAM" in str(machine.notes[0])


def test_a_gpu_that_answers_nothing_is_still_there_and_its_memory_unknown():
    lost = {name: NvmlError("GPU is lost") for name in PRO_6000}
    machine = recorded("epyc-vm", FakeNvml(lost, PRO_6000))
    assert [(gpu.index, gpu.memory_total) for gpu in machine.gpus] == [(0, None), (1, 102_641_958_912)]
    assert [gpu.name for gpu in machine.gpus] == [None, PRO_6000["Name"]]
    assert "GPU is lost" in str(machine.notes[0])


def test_a_library_that_breaks_in_its_own_way_breaks_nothing_else():
    machine = recorded("ryzen-7950x", FakeNvml({"Name": ValueError("odd")}))
    assert len(machine.gpus) == 2
    assert "NVIDIA GPUs could not be read" in str(machine.notes[0])


def test_this_machine_is_described_without_inventing(tmp_path):
    machine = detect(folders=[tmp_path, tmp_path / "not" / "yet", Path("\0")])
    assert machine.memory.total > 0
    assert 1 <= machine.cpu.usable_cores <= machine.cpu.logical_cores
    assert [one.path for one in machine.disks] == [str(tmp_path), str(tmp_path / "not" / "yet")]
    assert all(0 <= one.free <= one.total for one in machine.disks)
    assert any("could not be read" in str(note) for note in machine.notes)


def test_the_json_shape_has_every_field_and_renders_notes():
    shape = json.loads(json.dumps(machine_to_json(recorded("core-13900k"), lambda template: f"* {template}")))
    assert set(shape) == {"name", "system", "cpu", "memory", "gpus", "disks", "notes"}
    assert shape["memory"]["usable"] == 32 * GIB
    assert shape["gpus"][0]["vendor"] == "intel"
    assert shape["notes"][0].startswith("* an NVIDIA GPU")


@pytest.mark.parametrize(
    ("folder", "source", "filesystem", "kind"),
    [
        ("/srv/models", "/dev/mapper/vg-root", "ext4", "ssd"),
        ("/boot/x", "/dev/nvme0n1p1", "ext4", "ssd"),
        ("/mnt/big disk/models", "/dev/sda1", "xfs", "hdd"),
        ("/home/user", "/dev/nvme1n1", "btrfs", "ssd"),
        ("/mnt/mixed", "/dev/mapper/vg-mixed", "ext4", "hdd"),
        ("/tmp/x", "tmpfs", "tmpfs", None),  # noqa: S108 - a path in a recording, nothing is written there
        ("/mnt/pool", "tank/models", "zfs", None),
        ("/merged", "overlay", "overlay", None),
        ("/bootleg", "/dev/mapper/vg-root", "ext4", "ssd"),
    ],
)
def test_the_disk_of_a_folder(folder, source, filesystem, kind):
    root = RECORDED / "ryzen-7950x"
    mount = disk.mount_of(folder, disk.parse_mounts((root / "proc/self/mountinfo").read_text()))
    assert mount is not None
    assert (mount.source, mount.filesystem) == (source, filesystem)
    assert disk.kind_of(mount.source, root / "sys") == kind


def test_a_virtual_disk_says_nothing_about_its_medium():
    assert disk.kind_of("/dev/vda", RECORDED / "epyc-vm" / "sys") is None


@pytest.mark.parametrize(
    ("version", "target"),
    [(110000, "gfx1100"), (110501, "gfx1151"), (90010, "gfx90a"), (90402, "gfx942"), (120001, "gfx1201"), (0, None)],
)
def test_kfd_numbers_become_targets(version, target):
    assert amd.parse_target(version) == target


def test_isa_levels_need_every_feature_of_the_levels_below():
    v3 = cpu.parse_cpuinfo((RECORDED / "core-13900k/proc/cpuinfo").read_text()).features
    assert cpu.isa_level(v3) == "x86-64-v3"
    assert cpu.isa_level(v3 - {"movbe"}) == "x86-64-v2"
    assert cpu.isa_level(v3 - {"cx16"}) == "x86-64"
    assert cpu.isa_level(v3 - {"sse2"}) is None
    assert cpu.isa_level(v3 - {"popcnt"} | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}) == "x86-64"
    shown = (
        "fp asimd evtstrm crc32 atomics fphp asimdhp cpuid asimdrdm jscvt fcma lrcpc dcpop asimddp sve uscat ilrcpc "
        "flagm sb dit sve2 flagm2 frint svei8mm i8mm bf16"
    )
    grace = cpu.parse_cpuinfo(f"processor : 0\nFeatures : {shown}\n").features
    assert cpu.isa_level(grace) == "armv9-a"
    assert {"sve2", "i8mm", "bf16", "dotprod", "neon"} <= set(cpu.engine_flags(grace))


def test_cores_that_differ_are_named_and_only_common_features_count():
    block = "processor\t: {}\nFeatures\t: fp asimd {}\nCPU implementer\t: 0x41\nCPU part\t: {}\n"
    info = cpu.parse_cpuinfo(block.format(0, "i8mm sve", "0xd87") + "\n" + block.format(1, "i8mm", "0xd85"))
    assert info.model == "Cortex-A725 + Cortex-X925"
    assert info.features == {"fp", "asimd", "i8mm"}


@pytest.mark.parametrize(
    ("logical", "allowed", "quota", "usable"),
    [
        (8, None, None, 8),
        (8, {0, 1}, None, 2),
        (8, None, 2.9, 2),
        (8, None, 0.5, 1),
        (8, {0, 1}, 4.0, 2),
        (2, {0}, 9.0, 1),
    ],
)
def test_usable_cores(logical, allowed, quota, usable):
    assert cpu.usable_cores(logical, frozenset(allowed) if allowed else None, quota) == usable


def test_limits_of_groups_around_ours_count_and_steps_outside_are_ignored(tmp_path):
    sysfs, procfs = tmp_path / "sys", tmp_path / "proc"
    group = sysfs / "fs/cgroup/outer/inner"
    group.mkdir(parents=True)
    (procfs / "self").mkdir(parents=True)
    (procfs / "self/cgroup").write_text("0::/../outer/inner\n")
    (group / "memory.max").write_text("max\n")
    (group.parent / "memory.max").write_text(f"{8 * GIB}\n")
    (group / "cpu.max").write_text("150000 100000\n")
    assert cgroups.memory_limit(sysfs, procfs) == 8 * GIB
    assert cgroups.cpu_limit(sysfs, procfs) == 1.5


def test_the_system_is_named():
    assert system_name("6.1.0-9-amd64\n") == "Linux 6.1.0-9-amd64"
    assert system_name(None)


FILES = (
    "proc/cpuinfo", "proc/meminfo", "proc/self/status", "proc/self/cgroup", "proc/self/mountinfo",
    "proc/sys/kernel/osrelease", "sys/fs/cgroup/memory.max", "sys/fs/cgroup/cpu.max",
    "sys/fs/cgroup/memory/memory.limit_in_bytes", "sys/fs/cgroup/cpu/cpu.cfs_quota_us",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us", "sys/class/drm/card0/device/vendor", "sys/class/drm/card0/device/uevent",
    "sys/class/drm/card0/device/mem_info_vram_total", "sys/class/drm/card0/device/mem_info_gtt_total",
    "sys/class/drm/card0/device/product_name", "sys/class/kfd/kfd/topology/nodes/0/properties",
    "sys/bus/pci/devices/0000:01:00.0/vendor", "sys/bus/pci/devices/0000:01:00.0/class",
    "sys/devices/system/cpu/cpu0/topology/core_id", "share/libdrm/amdgpu.ids",
)  # fmt: skip
KNOWN = st.sampled_from([
    b"0x1002\n", b"0x10de", b"0x030000", b"-1", b"max 0", b"9" * 5000, b"simd_count 4\nlocation_id 768\n",
    b"MemTotal: 1 kB\nMemAvailable: 99999999999999999999 kB", b"processor : 0\nflags : fpu\n\nprocessor : 1\n",
    b"0::/a/../\x00b\n1:memory:/..", b"0-99999999999\n", b"1 2 3:4 / / - ext4 /dev/../x \n", b"\xff\xfe\x00",
    b"Cpus_allowed_list: 5-2,,", "processor : ²\n".encode(), b"744C, C8, X\n",
])  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(contents=st.lists(st.binary(max_size=200) | KNOWN, min_size=len(FILES), max_size=len(FILES)))
def test_any_bytes_in_the_systems_files_give_a_machine(tmp_path, contents):
    for name, content in zip(FILES, contents, strict=True):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    machine = detect(
        folders=[tmp_path], sysfs=tmp_path / "sys", procfs=tmp_path / "proc", share=tmp_path / "share", nvml=NO_NVML
    )
    assert machine.cpu.usable_cores >= 1
    # No probe was caught failing: each is total by itself.
    assert not [note for note in machine.notes if "could not be read:" in str(note)]
    json.dumps(machine_to_json(machine))


@given(content=st.text(max_size=300))
def test_parsers_are_total(content):
    cpu.parse_cpuinfo(content)
    memory.parse_meminfo(content)
    amd.parse_kfd_node(content)
    amd.parse_names(content)
    cgroups.parse_groups(content)
    cgroups.parse_cpu_max(content)
    cgroups.parse_memory_limit(content)
    disk.parse_mounts(content)
    disk.kind_of("/dev/" + content, RECORDED / "ryzen-7950x/sys")


def test_no_library_and_no_nvidia_hardware_is_no_news():
    assert nvidia.read_nvidia_gpus(RECORDED / "epyc-vm" / "sys", NO_NVML) == ([], [])
