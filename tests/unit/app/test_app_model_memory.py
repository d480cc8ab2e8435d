"""The memory that models may use, and what other programs hold of it."""

import asyncio
import os
from pathlib import Path

from ansambl.app.configuration.settings import BudgetSettings
from ansambl.app.model_memory import OtherPrograms, devices_of, unreclaimable
from ansambl.domain.hardware import Cpu, Gpu, Machine, Memory
from ansambl.domain.units import GIB, MIB, Bytes

ALL = BudgetSettings()


def machine(*gpus, ram=64, limit=None):
    memory = Memory(Bytes(ram * GIB), Bytes(ram * GIB), None if limit is None else Bytes(limit * GIB))
    return Machine("t", "Linux", Cpu("x", "x86_64", 2, 2, 2, None), memory, gpus=gpus)


def card(index, vendor="nvidia", total=24, used=0, **more):
    return Gpu(index, vendor, None, Bytes(total * GIB), Bytes(used * GIB), identifier=f"{vendor}-{index}", **more)


def test_without_a_budget_models_may_use_all_of_each_device():
    found = devices_of(machine(card(0), card(1, total=8)), ALL)
    assert found.capacity == found.whole == {"ram": 64 * GIB, "gpu0": 24 * GIB, "gpu1": 8 * GIB}


def test_a_budget_limits_every_device_and_never_adds_to_one():
    found = devices_of(machine(card(0), card(1, total=8)), BudgetSettings(ram="32GiB", gpu="10GiB"))
    assert found.capacity == {"ram": 32 * GIB, "gpu0": 10 * GIB, "gpu1": 8 * GIB}
    assert [found.limited(one) for one in ("ram", "gpu0", "gpu1")] == [True, True, False]
    assert devices_of(machine(), BudgetSettings(ram="1000GiB")).capacity == {"ram": 64 * GIB}


def test_the_ram_of_a_container_is_its_limit():
    assert devices_of(machine(limit=8), ALL).capacity == {"ram": 8 * GIB}


def test_a_gpu_that_works_in_the_ram_is_no_device_of_its_own():
    shared = card(0, "amd", total=48, integrated=True, memory_shared=Bytes(48 * GIB))
    found = devices_of(machine(shared), ALL)
    assert found.capacity == {"ram": 64 * GIB}
    assert found.of("AMD", 0) == "ram"


def test_gpus_of_two_vendors_have_different_names_although_each_vendor_counts_from_0():
    found = devices_of(machine(card(0), card(0, "amd", total=16)), ALL)
    assert found.capacity == {"ram": 64 * GIB, "gpu0": 24 * GIB, "amd-gpu0": 16 * GIB}
    assert (found.of("NVIDIA", 0), found.of("amd", 0)) == ("gpu0", "amd-gpu0")


def test_a_gpu_whose_memory_nobody_tells_is_left_out():
    unknown = Gpu(0, "intel", None, None, identifier="x")
    assert devices_of(machine(unknown), ALL).capacity == {"ram": 64 * GIB}


def foreign(devices, memory, gpus=(), *, pids=(), held=None, procfs=Path("/proc"), kept=0):
    programs = OtherPrograms(
        devices, lambda: pids, look=lambda: (memory, gpus), held=lambda _pids: held or {}, procfs=procfs,
        kept=lambda: kept,
    )  # fmt: skip
    return asyncio.run(programs.foreign())


def test_what_is_not_available_and_not_ours_is_foreign(tmp_path):
    status = tmp_path / str(os.getpid()) / "status"
    status.parent.mkdir()
    status.write_text("RssAnon:\t 1048576 kB\nRssFile:\t 4194304 kB\nRssShmem:\t 524288 kB\n")
    memory = Memory(Bytes(64 * GIB), Bytes(54 * GIB))
    found = foreign(devices_of(machine(), ALL), memory, pids=(os.getpid(),), procfs=tmp_path)
    # 10 GiB are in use, of which 1.5 are ours; the pages of our files are available and in neither.
    assert found == {"ram": 10 * GIB - 1536 * MIB}


def test_foreign_memory_is_never_negative(tmp_path):
    status = tmp_path / str(os.getpid()) / "status"
    status.parent.mkdir()
    status.write_text("RssAnon:\t 99999999 kB\nRssShmem:\t 0 kB\n")
    found = foreign(devices_of(machine(), ALL), Memory(Bytes(64 * GIB), Bytes(60 * GIB)), pids=(os.getpid(),),
                    procfs=tmp_path)  # fmt: skip
    assert found == {"ram": 0}


def test_other_programs_never_keep_a_model_from_running_that_fits_the_machine():
    devices, memory = devices_of(machine(), ALL), Memory(Bytes(64 * GIB), Bytes(14 * GIB))
    assert foreign(devices, memory) == {"ram": 50 * GIB}
    assert foreign(devices, memory, kept=20 * GIB) == {"ram": 44 * GIB}
    assert foreign(devices, memory, kept=80 * GIB) == {"ram": 0}


def test_what_our_engines_hold_on_a_gpu_is_not_foreign():
    devices, memory = devices_of(machine(card(0), card(1)), ALL), Memory(Bytes(64 * GIB), Bytes(64 * GIB))
    held = {"nvidia-0": Bytes(6 * GIB), "nvidia-1": Bytes(0)}
    found = foreign(devices, memory, (card(0, used=8), card(1, used=3)), pids=(os.getpid(),), held=held)
    assert (found["gpu0"], found["gpu1"]) == (2 * GIB, 3 * GIB)


def test_where_a_driver_tells_of_no_process_ours_do_not_count_as_foreign():
    memory = Memory(Bytes(64 * GIB), Bytes(64 * GIB))
    now = {"pids": (), "used": 2}
    programs = OtherPrograms(
        devices_of(machine(card(0)), ALL), lambda: now["pids"], look=lambda: (memory, (card(0, used=now["used"]),)),
        held=lambda _pids: {},
    )  # fmt: skip
    assert asyncio.run(programs.foreign())["gpu0"] == 2 * GIB
    now.update(pids=(os.getpid(),), used=20)
    assert asyncio.run(programs.foreign())["gpu0"] == 2 * GIB


def test_a_process_that_is_gone_holds_nothing(tmp_path):
    assert unreclaimable(2**22 + 7, tmp_path) == 0


def test_this_process_holds_something_that_the_kernel_cannot_take_back():
    assert MIB < unreclaimable(os.getpid()) < 64 * GIB


def test_the_real_machine_is_looked_at_cheaply():
    devices = devices_of(machine(ram=1), ALL)
    found = asyncio.run(OtherPrograms(devices, lambda: (os.getpid(),)).foreign())
    assert 0 <= found.pop("ram") < 2**50
    assert not found
