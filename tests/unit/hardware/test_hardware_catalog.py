"""Machines to plan for: what is shipped, files of people right and wrong, this machine joined with the catalog."""

from __future__ import annotations

import os
import tomllib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from ansambl.domain.device import DeviceKind
from ansambl.domain.errors import UsageError
from ansambl.domain.hardware import Cpu, Gpu, Machine, Memory
from ansambl.domain.units import GIB, Bytes
from ansambl.hardware import catalog
from ansambl.hardware.device_tables import FACT_KEYS, GPU_KEYS, RAM_KEYS, read_catalog, recognise
from ansambl.hardware.machine_files import read_machine

SHIPPED = {
    "rtx-pro-6000-128g", "rtx-4090-64g", "rtx-4080-64g", "rx-7900-xtx-64g", "dual-3090-64g", "cpu-7950x-128g",
    "cpu-13900k-64g", "strix-halo-128g", "dgx-spark", "h100-80g", "mac-m4-max-128g",
}  # fmt: skip
MACHINE = '[[gpus]]\ndevice = "rtx-4090"\n[ram]\nmemory = "64GiB"\ndevice = "ryzen-9-7950x"\n'


@pytest.fixture
def file_of(tmp_path):
    def write(content: str, name: str = "mine.toml"):
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        return path

    return write


def message_of(path) -> str:
    with pytest.raises(UsageError) as caught:
        catalog.load_machine(path)
    words = str(caught.value)
    assert "\n" not in words
    assert len(words) < 400 + len(str(path))
    return words.removeprefix(f"{path}: ")


# What is shipped


def test_every_machine_of_the_list_is_there():
    assert set(catalog.machine_names()) == SHIPPED
    assert list(catalog.machine_names()) == sorted(SHIPPED)


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_shipped_machine_loads_and_its_devices_have_sources(name):
    machine = catalog.load_machine(name)
    assert machine.name == name
    assert machine.ram.memory >= 64 * GIB
    assert [gpu.index for gpu in machine.gpus] == list(range(len(machine.gpus)))
    for gpu in machine.gpus:
        assert gpu.model.sources
        assert gpu.memory <= (gpu.model.memory or machine.ram.memory)
    for note in machine.notes:
        assert note.render()


@pytest.mark.parametrize("model", catalog.device_models().values(), ids=lambda one: one.name)
def test_every_device_has_sources_and_possible_figures(model):
    assert model.sources
    assert all(source.strip() for source in model.sources)
    if model.bandwidth is not None:
        assert 50e9 < model.bandwidth < 10e12
        assert model.bandwidth_low is None or model.bandwidth_low < model.bandwidth
    if model.memory is not None:
        assert 8 * GIB <= model.memory <= 512 * GIB
    least = 5e12 if model.kind is DeviceKind.GPU else 0.5e12
    for low, high in model.operations.values():
        assert least <= low <= high <= 10e15


def test_figures_are_what_the_sources_say():
    models = catalog.device_models()
    assert len(models) >= 68
    assert models["rtx-4090"].memory == 24 * GIB
    assert models["rtx-4090"].bandwidth == 1008e9
    assert models["rtx-4090"].operations == {
        "bf16": (165.2e12, 165.2e12), "fp16": (330.3e12, 330.3e12), "fp8": (330.3e12, 660.6e12),
    }  # fmt: skip
    assert models["rtx-5090"].operations["bf16"] == pytest.approx((209.6e12, 419.2e12))
    assert models["rtx-pro-6000-blackwell"].operations["bf16"] == (500e12, 1021e12)
    assert models["h100-sxm"].operations["fp8"] == pytest.approx((1979e12, 1979e12))
    assert models["m4-max"].bandwidth == 546e9
    assert models["ryzen-9-7950x"].kind is DeviceKind.RAM
    assert (models["ryzen-9-7950x"].bandwidth_low, models["ryzen-9-7950x"].bandwidth) == (65e9, 83.2e9)
    assert models["epyc-9654"].bandwidth == 460.8e9


def test_every_card_has_a_link_and_no_shared_memory_has_one():
    # PCI-SIG: 8, 16 and 32 GT/s a lane, 128 of 130 bits, eight or sixteen lanes.
    rates = {round(giga * lanes / 8 * 128 / 130, 2) for giga in (8, 16, 32) for lanes in (8, 16)}
    for model in catalog.device_models().values():
        if model.kind is DeviceKind.GPU and not model.unified_memory:
            assert model.link_bandwidth
            assert min(abs(model.link_bandwidth / 1e9 - rate) for rate in rates) < 0.03
        else:
            assert model.link_bandwidth is None


def test_marketing_figures_for_sparsity_are_halved():
    given_rate = {"name": "x", "memory": "8GiB", "operations": {"fp4": "4000 sparse TOPS"}, "sources": ["s"]}
    (entry,) = read_catalog("f", {"gpus": [given_rate]}).values()
    assert entry.model.operations == {"fp4": (2000e12, 2000e12)}


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("cpu-7950x-128g", 57.6e9, 83.2e9), ("rtx-4090-64g", None, 89.6e9), ("h100-80g", None, 307.2e9)],
)
def test_the_bandwidth_of_the_ram_is_derived(name, low, high):
    model = catalog.load_machine(name).ram.model
    assert (model.bandwidth_low, model.bandwidth) == (low, high)


def test_memory_that_is_shared_is_at_most_the_ram():
    spark = catalog.load_machine("dgx-spark")
    assert spark.gpus[0].model.unified_memory
    assert spark.gpus[0].memory == spark.ram.memory == 121_600_000_000
    strix = catalog.load_machine("strix-halo-128g")
    assert strix.gpus[0].memory == 96_000_000_000
    assert strix.ram.memory == 128 * GIB
    assert strix.ram.model.bandwidth == strix.gpus[0].model.bandwidth == 256e9
    assert "of which it may use" in str(strix.notes[0])
    mac = catalog.load_machine("mac-m4-max-128g")
    assert [str(note) for note in mac.notes] == [
        "M4 Max works in the machine's RAM, of which it may use 107.5 GiB.",
    ]


def test_a_cards_memory_is_its_total():
    cards = catalog.load_machine("dual-3090-64g").gpus
    assert [card.memory for card in cards] == [24 * GIB, 24 * GIB]
    assert cards[0].model.memory_visible == round(23.58 * GIB)


def test_what_a_name_does_not_say_is_told_as_assumed():
    assert "which processor" in str(catalog.load_machine("rtx-4090-64g").notes[0])
    assert "which variant of the GPU" in str(catalog.load_machine("h100-80g").notes[0])
    assert catalog.load_machine("cpu-13900k-64g").notes == ()


def test_a_device_of_the_catalog_without_a_source_is_refused():
    with pytest.raises(UsageError, match=r"gpus\[1\].sources is missing"):
        read_catalog("f", {"gpus": [{"name": "x", "memory": "8GiB"}]})
    twice = {"name": "x", "sources": ["s"]}
    with pytest.raises(UsageError, match="the device x stands there twice"):
        read_catalog("f", {"gpus": [twice, twice]})


# Files of people


def test_a_file_names_devices_of_the_catalog(file_of):
    path = file_of('title = "Mine"\n' + MACHINE.replace("[ram]", 'count = 2\nmemory = "23GiB"\n[ram]'))
    machine = catalog.load_machine(path)
    assert (machine.name, machine.title, len(machine.gpus)) == ("mine", "Mine", 2)
    assert machine.gpus[1].index == 1
    assert machine.gpus[1].memory == 23 * GIB
    assert machine.gpus[1].model == catalog.device_models()["rtx-4090"]
    assert machine == catalog.load_machine(str(path))


def test_a_file_describes_devices_in_full(file_of):
    machine = catalog.load_machine(
        file_of(
            '[[gpus]]\ntitle = "My card"\nvendor = "nvidia"\nmemory = "48GiB"\nbandwidth = ["900 GB/s", 1.0e12]\n'
            'operations = { bf16 = "150 TFLOPS", int8 = [2.0e14, "0.3 POPS"] }\ncapability = "8.9"\nwatts = 400\n'
            'link_bandwidth = "31 GB/s"\n'
            '[ram]\nmemory = "1TiB"\ntitle = "EPYC"\nchannels = 12\ntransfer_rate = 4800\n'
        )
    )
    model = machine.gpus[0].model
    assert (model.bandwidth_low, model.bandwidth, model.link_bandwidth) == (900e9, 1e12, 31e9)
    assert model.operations == {"bf16": (150e12, 150e12), "int8": (2e14, 3e14)}
    assert (model.capability, model.watts, model.memory, model.vendor) == ("8.9", 400, 48 * GIB, "nvidia")
    assert machine.ram.model.bandwidth == 460.8e9
    assert machine.ram.model.title == "EPYC"
    assert machine.notes == ()


def test_figures_of_a_file_go_over_those_of_the_catalog(file_of):
    model = catalog.load_machine(file_of(MACHINE + 'bandwidth = ["50 GB/s", "60 GB/s"]\n')).ram.model
    assert (model.bandwidth_low, model.bandwidth) == (50e9, 60e9)
    assert model.title == "Ryzen 9 7950X"


@pytest.mark.parametrize(
    ("lines", "low", "high"),
    [
        ('bandwidth_measured = "40 GB/s"', 40e9, 83.2e9),
        ('bandwidth_measured = "80 GB/s"', 65e9, 83.2e9),
        ('bandwidth = "70 GB/s"\nbandwidth_measured = "60 GB/s"', 60e9, 70e9),
        ("transfer_rate = 3600", None, 57.6e9),
    ],
)
def test_what_was_measured_is_the_low_end(file_of, lines, low, high):
    model = catalog.load_machine(file_of(f"{MACHINE}{lines}\n")).ram.model
    assert (model.bandwidth_low, model.bandwidth) == (low, high)


def test_what_was_measured_is_enough(file_of):
    model = catalog.load_machine(file_of('[ram]\nmemory = "64GiB"\nbandwidth_measured = "50 GB/s"\n')).ram.model
    assert (model.bandwidth_low, model.bandwidth) == (None, 50e9)


def test_a_gpu_in_the_ram_gives_it_its_bandwidth(file_of):
    machine = catalog.load_machine(file_of('[[gpus]]\ndevice = "m2-ultra"\n[ram]\nmemory = "64GiB"\n'))
    # macOS keeps about a quarter of smaller RAM back.
    assert machine.gpus[0].memory == int(0.74 * 64 * GIB)
    assert machine.ram.model.bandwidth == 800e9


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", 'ram.memory is missing; write for example "64GiB"'),
        ('[ram]\nmemory = "-1"\n', 'ram.memory cannot be "-1"; write for example "24GiB"'),
        ("[ram]\nmemory = -1\n", 'ram.memory cannot be -1; write for example "24GiB"'),
        ("[ram]\nmemory = 0\n", "ram.memory is 0, which no device has; it must be between 64.0 MiB and 64.0 TiB"),
        ("[ram]\nmemory = 64\n", "ram.memory is 64, which no device has; it must be between 64.0 MiB and 64.0 TiB"),
        ("[ram]\nmemory = nan\n", 'ram.memory cannot be nan; write for example "24GiB"'),
        ("[ram]\nmemory = true\n", 'ram.memory cannot be true; write for example "24GiB"'),
        ("[ram]\nmemory = 1979-05-27\n", 'ram.memory cannot be 1979-05-27; write for example "24GiB"'),
        (f"[ram]\nmemory = 0x{'f' * 9000}\n",
         'ram.memory cannot be a number of thousands of digits; write for example "24GiB"'),
        ("ram = 64\n", "ram cannot be 64; write for example [ram]"),
        (f"{MACHINE}bandwith = 1\n", 'there is no key ram.bandwith; did you mean "bandwidth"?'),
        ("qqqq = 1\n", "there is no key qqqq; the keys here are: title, gpus, ram, assumed"),
        (f"{MACHINE}channels = 0\n", "ram.channels is 0, which no device has; it must be between 1 and 64"),
        (f"{MACHINE}channels = 2.5\n", "ram.channels cannot be 2.5; write for example 1"),
        (f"{MACHINE}transfer_rate = [6000, 5000]\n",
         "ram.transfer_rate is [6000, 5000], which no device has; it must be between 100 and 100000"),
        (f'{MACHINE}transfer_rate = ["a", 1]\n',
         "ram.transfer_rate cannot be ['a', 1]; write for example [100, 100000]"),
        (f'{MACHINE}transfer_rate = 5600\nbandwidth = "80 GB/s"\n',
         "ram.bandwidth is given twice, once by transfer_rate and channels; remove one"),
        (f'{MACHINE}bandwidth_measured = "500 GB/s"\n',
         'ram.bandwidth_measured is "500 GB/s", but the modules promise at most 83.2 GB/s; correct one of them'),
        (MACHINE.replace("[ram]", 'memory_visible = "48GiB"\n[ram]'), "there is no key gpus[1].memory_visible; "),
        ('[ram]\nmemory = "64GiB"\ntransfer_rate = 5600\n', "ram.channels is missing; write for example 2"),
        ('[ram]\nmemory = "64GiB"\nchannels = 2\n', "ram.transfer_rate is missing; write for example 5600"),
        (MACHINE.replace("rtx-4090", "rtx-4091"),
         "gpus[1].device: there is no device rtx-4091; did you mean rtx-4090, rtx-5090, rtx-4080?"),
        (MACHINE.replace("rtx-4090", "ryzen-9-7950x"), "gpus[1].device: there is no device ryzen-9-7950x; "),
        (MACHINE.replace("ryzen-9-7950x", "%%%%"),
         "ram.device: there is no device %%%%; leave it out and write title, memory and bandwidth"),
        (MACHINE.replace("[ram]", "count = 65\n[ram]"),
         "gpus[1].count is 65, which no device has; it must be between 1 and 64"),
        ('[[gpus]]\ndevice = "rtx-4090"\ncount = 60\n' + MACHINE.replace("[ram]", "count = 5\n[ram]"),
         "gpus[2]: a machine has at most 64 GPUs; remove some"),
        ('[[gpus]]\nmemory = "24GiB"\n[ram]\nmemory = "64GiB"\n',
         'gpus[1].device is missing; write for example "rtx-4090"'),
        ('[[gpus]]\ntitle = "X"\n[ram]\nmemory = "64GiB"\n', 'gpus[1].memory is missing; write for example "24GiB"'),
        (MACHINE.replace("[ram]", "bandwidth = 1e30\n[ram]"),
         "gpus[1].bandwidth is 1e+30, which no device has; it must be between 0.1 GB/s and 1000000 GB/s"),
        (MACHINE.replace("[ram]", 'bandwidth = ["2 TB/s", "1 TB/s"]\n[ram]'),
         "gpus[1].bandwidth is ['2 TB/s', '1 TB/s'], which no device has; "),
        (MACHINE.replace("[ram]", 'bandwidth = ["1 TB/s"]\n[ram]'), "gpus[1].bandwidth cannot be ['1 TB/s']; "),
        (MACHINE.replace("[ram]", 'operations = { bf16 = "many" }\n[ram]'),
         'gpus[1].operations.bf16 cannot be "many"; write for example "165.2 TFLOPS"'),
        (MACHINE.replace("[ram]", "operations = { bf16 = 165 }\n[ram]"),
         "gpus[1].operations.bf16 is 165, which no device has; it must be between 1 GFLOPS and 1000 PFLOPS"),
        (MACHINE.replace("[ram]", "operations = { bf61 = 1 }\n[ram]"),
         'there is no key gpus[1].operations.bf61; did you mean "bf16"?'),
        (MACHINE.replace("[ram]", "watts = -5\n[ram]"), "gpus[1].watts is -5, which no device has; "),
        (MACHINE.replace("[ram]", 'unified_memory = "yes"\n[ram]'), 'gpus[1].unified_memory cannot be "yes"; '),
        (MACHINE.replace("[ram]", 'capability = ""\n[ram]'), 'gpus[1].capability cannot be ""; '),
        (MACHINE.replace("[ram]", "sources = [1]\n[ram]"), "gpus[1].sources cannot be [1]; "),
        ('gpus = 1\n[ram]\nmemory = "64GiB"\n', "gpus cannot be 1; write for example [[gpus]]"),
        ('[[gpus]]\ndevice = "m2-ultra"\nmemory = "128GiB"\n[ram]\nmemory = "64GiB"\n',
         "gpus[1].memory is 128.0 GiB, but the GPU works in the RAM, which has 64.0 GiB; lower it or set ram.memory"),
        (f'assumed = ["luck"]\n{MACHINE}', "assumed cannot be ['luck']; "),
        (f'title = "a\\nb"\n{MACHINE}', 'title cannot be "a b"; '),
        (f'"a\\nb" = 1\n{MACHINE}', "there is no key a b; "),
        (f"title = 5\n{MACHINE}", "title cannot be 5; "),
    ],
)  # fmt: skip
def test_nonsense_is_one_line_with_the_field(file_of, content, words):
    assert words in message_of(file_of(content))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\xff\xfe\x00", "is not text in UTF-8"),
        (b"a = ", "is not valid TOML (Invalid value"),
        (b"a = " + b"[" * 100_000, "is nested too deeply"),
        (b"a = " + b"9" * 9000, "is not valid TOML"),
        (b"#" * 1_000_001, "is over 1 MB"),
        (b"\x00", "is not valid TOML"),
    ],
    ids=range(6),
)
def test_what_is_no_machine_file_is_one_line(tmp_path, raw, words):
    path = tmp_path / "bad.toml"
    path.write_bytes(raw)
    assert words in message_of(path)


def test_what_cannot_be_read_is_one_line(tmp_path):
    assert "cannot be read (No such file" in message_of(tmp_path / "none.toml")
    assert "is not a file" in message_of(tmp_path)
    os.mkfifo(tmp_path / "pipe.toml")
    assert "is not a file" in message_of(tmp_path / "pipe.toml")
    assert "cannot be read" in message_of("a\0b.toml")
    assert "there is no machine" in message_of("a\0b")


def test_an_unknown_name_offers_the_nearest():
    assert "did you mean rtx-4090-64g, rtx-4080-64g, dual-3090-64g?" in message_of("rtx-4090-64")
    assert "see: ansambl machines list" in message_of("qqq")
    assert "see: ansambl machines list" in message_of("q" * 100_000)
    assert "there is no machine 'a b'" in message_of("a\nb")


def test_a_name_is_found_in_any_letter_case_and_before_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dgx-spark").write_text(MACHINE, encoding="utf-8")
    (tmp_path / "mine").write_text(MACHINE, encoding="utf-8")
    assert catalog.load_machine("DGX-Spark").gpus[0].model.name == "dgx-spark-gb10"
    assert catalog.load_machine("./dgx-spark").gpus[0].model.name == "rtx-4090"
    assert catalog.load_machine("mine").name == "mine"


_ANY = some.recursive(
    some.one_of(
        some.integers(), some.floats(), some.booleans(), some.text(max_size=20), some.dates(), some.datetimes(),
        some.sampled_from(["24GiB", "1008 GB/s", "165 TFLOPS", "rtx-4090", "ryzen-9-7950x", "m2-ultra", "-1GB"]),
        some.sampled_from([30, 6000]).map(lambda digits: 10**digits),
    ),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
_KEYS = some.sampled_from(sorted({"device", "count", "memory", *FACT_KEYS, *GPU_KEYS, *RAM_KEYS})) | some.text(
    max_size=5
)
_TABLE = some.dictionaries(_KEYS, _ANY, max_size=5)
_RAM = some.dictionaries(some.sampled_from(["device", *RAM_KEYS]), _ANY, max_size=4).map(
    lambda table: {"memory": "64GiB", **table}
)


@settings(max_examples=300, deadline=None)
@given(
    some.fixed_dictionaries(
        {}, optional={"gpus": some.lists(_TABLE, max_size=3) | _ANY, "ram": _RAM | _ANY, "title": _ANY, "assumed": _ANY}
    )
)
def test_whatever_a_table_holds_it_is_a_machine_or_one_line(table):
    try:
        machine = read_machine("f.toml", "f", table, catalog._entries())
    except UsageError as error:
        words = str(error)
        assert words.startswith("f.toml: ")
        assert "\n" not in words
        return
    assert machine.ram.memory > 0
    for device in (*machine.gpus, machine.ram):
        assert device.memory > 0
        assert device.model.bandwidth is None or device.model.bandwidth > 0


@settings(max_examples=200, deadline=None)
@given(some.binary(max_size=200) | some.text(max_size=200).map(lambda words: words.encode("utf-8", "surrogatepass")))
def test_whatever_bytes_a_file_holds_they_are_a_table_or_one_line(raw):
    try:
        table = catalog.parse_toml(raw, "f.toml")
    except UsageError as error:
        words = str(error)
        assert "\n" not in words
        return
    assert table == tomllib.loads(raw.decode("utf-8-sig").replace("\r\n", "\n"))


# This machine

CPU = Cpu("AMD Ryzen 9 7950X 16-Core Processor", "x86_64", 16, 32, 32, "x86-64-v4", ("avx2",))
MEMORY = Memory(Bytes(64 * GIB), Bytes(60 * GIB))


def planned(*gpus: Gpu, cpu: Cpu = CPU, memory: Memory = MEMORY):
    return catalog.from_inventory(Machine("host", "Linux", cpu, memory, gpus))


def test_this_machine_is_measured_memory_with_the_catalogs_facts():
    gpu = Gpu(0, "nvidia", "NVIDIA GeForce RTX 4090", Bytes(25_757_220_864), capability="8.9")
    machine = planned(gpu, memory=replace(MEMORY, limit=Bytes(16 * GIB)))
    assert machine.name == "host"
    assert machine.gpus[0].memory == 25_757_220_864
    assert machine.gpus[0].model.bandwidth == 1008e9
    assert machine.ram.memory == 16 * GIB
    assert machine.ram.model.bandwidth == 83.2e9
    assert [str(note) for note in machine.notes] == [
        "The RAM's bandwidth is the processor's by its data sheet; modules may run slower."
    ]


def test_an_unknown_device_keeps_unknown_facts():
    gpu = Gpu(0, "nvidia", "NVIDIA GeForce RTX 4090 Laptop GPU", Bytes(16 * GIB), capability="8.9")
    machine = planned(gpu, cpu=replace(CPU, model="Other CPU"))
    model = machine.gpus[0].model
    assert (model.bandwidth, model.operations, model.watts, model.capability) == (None, {}, None, "8.9")
    assert machine.ram.model.bandwidth is None
    assert machine.ram.model.title == "Other CPU"
    assert len(machine.notes) == 2


def test_a_gpu_without_known_memory_is_left_out_with_a_note():
    machine = planned(Gpu(0, "intel", None, None), cpu=replace(CPU, model=None))
    assert machine.gpus == ()
    assert str(machine.notes[0]) == "The memory of intel 0 is unknown, so nothing is planned for it."


def test_a_gpu_that_works_in_the_ram_is_counted_once():
    spark = planned(Gpu(0, "nvidia", "NVIDIA GB10", None, integrated=True), memory=Memory(Bytes(119 * GIB), Bytes(1)))
    assert spark.gpus[0].memory == 121_600_000_000
    assert spark.ram.memory == 119 * GIB
    # The firmware gave 64 GiB to the GPU, the system counts the other 64; the driver may map 30 of those.
    apu = Gpu(0, "amd", "AMD Radeon Graphics", Bytes(94 * GIB), capability="gfx1151", integrated=True,
              memory_shared=Bytes(30 * GIB))  # fmt: skip
    strix = planned(apu, cpu=replace(CPU, model="AMD RYZEN AI MAX+ 395 w/ Radeon 8060S"))
    assert strix.gpus[0].model.name == "strix-halo"
    assert strix.gpus[0].memory == 94 * GIB
    assert strix.ram.memory == 128 * GIB
    assert strix.ram.model.bandwidth == 256e9


def test_an_apple_processor_brings_its_gpu():
    machine = planned(cpu=replace(CPU, model="Apple M1 Max"))
    assert machine.gpus[0].model.name == "m1-max"
    assert machine.gpus[0].memory == machine.ram.memory == 64 * GIB


@pytest.mark.parametrize(
    ("seen", "gib", "name"),
    [
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 95.6, "rtx-pro-6000-blackwell"),
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", 95.6, "rtx-pro-6000-blackwell-max-q"),
        ("NVIDIA H100 80GB HBM3", 79.6, "h100-sxm"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", 9.8, None),
        ("NVIDIA H100 PCIe", 79.6, "h100-pcie"),
        ("NVIDIA A100-SXM4-80GB", 79.3, "a100-80gb-sxm"),
        ("NVIDIA A100-PCIE-40GB", 39.4, "a100-40gb"),
        ("NVIDIA GeForce RTX 4080 SUPER", 16.0, "rtx-4080-super"),
        ("NVIDIA GeForce RTX 3060", 12.0, "rtx-3060-12gb"),
        ("NVIDIA GeForce RTX 3060", 8.0, None),
        ("NVIDIA GeForce RTX 4090 D", 24.0, None),
        ("NVIDIA RTX 6000 Ada Generation", 48.0, "rtx-6000-ada"),
        ("AMD Radeon RX 7900 XTX", 24.0, "rx-7900-xtx"),
        ("AMD Radeon AI PRO R9700", 31.9, "radeon-ai-pro-r9700"),
        ("13th Gen Intel(R) Core(TM) i9-13900K", None, "core-i9-13900k"),
        ("AMD Ryzen 9 7950X3D 16-Core Processor", None, None),
        ("AMD EPYC 9654 96-Core Processor", None, "epyc-9654"),
        ("AMD EPYC 9755 128-Core Processor", None, "epyc-9005"),
        ("AMD EPYC", None, None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_names_of_drivers_are_recognised(seen, gib, name):
    memory = None if gib is None else Bytes(round(gib * GIB))
    entry = recognise(seen, memory, tuple(catalog._entries().values()))
    assert (entry.model.name if entry else None) == name


def test_json_holds_the_records_fields():
    document = catalog.planned_to_json(catalog.load_machine("rtx-4090-64g"))
    assert document["gpus"][0]["memory"] == 24 * GIB
    assert document["gpus"][0]["kind"] == "gpu"
    assert document["gpus"][0]["model"]["link_bandwidth"] == 31.5e9
    assert document["ram"]["model"]["name"] == "ryzen-9-7900"
    assert document["notes"] == [
        "The name does not say which processor and RAM modules it has: a common desktop was taken."
    ]


def test_a_measured_bandwidth_is_the_low_end_and_no_note_speaks_of_the_data_sheet():
    machine = catalog.from_inventory(Machine("host", "Linux", CPU, MEMORY), 41e9)
    assert machine.ram.model.bandwidth_low == 41e9
    assert machine.ram.model.bandwidth == 83.2e9
    assert any("measured on this machine" in source for source in machine.ram.model.sources)
    assert machine.notes == ()


def test_a_measured_bandwidth_is_all_that_is_known_of_an_unknown_processor():
    machine = catalog.from_inventory(Machine("host", "Linux", replace(CPU, model="Other CPU"), MEMORY), 41e9)
    assert (machine.ram.model.bandwidth, machine.ram.model.bandwidth_low) == (41e9, 41e9)
    assert not any("bandwidth" in str(note) for note in machine.notes)
