"""Measurements in place of forecasts: what was measured is exact, the rest stays, and what fits is never flattered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from ansambl.domain.device import DeviceKind
from ansambl.domain.footprint import NOTHING, DeviceFootprint, Footprint, FootprintBasis, Range
from ansambl.domain.measurement import Measurement, MeasurementKey, Speeds
from ansambl.domain.speed import SpeedForecast, SpeedRange
from ansambl.domain.units import GIB, MIB, Bytes
from ansambl.planner.calibration import NO_FORECAST, SAME_MODEL, MeasuredSpeed, calibrated, corrected

KEY = MeasurementKey("here", "llama.cpp", "b11549", "cpu", "sha256:1", context=4096, parallel=2, kv_type="f16")
LOGGED = {
    "CPU_Mapped": {"weights": Bytes(900 * MIB)},
    "CPU_REPACK": {"weights": Bytes(100 * MIB)},
    "CPU": {"kv_cache": Bytes(512 * MIB), "compute": Bytes(40 * MIB), "overhead": Bytes(MIB)},
}
ONE = Measurement(
    KEY, "embedded", Bytes(900 * MIB), time=1_795_305_600.0, memory=LOGGED, resident=Bytes(1600 * MIB),
    speeds=Speeds(peak=Bytes(1610 * MIB)),
)  # fmt: skip


def mib(low: int, expected: int, high: int) -> Range:
    return Range(Bytes(low * MIB), Bytes(expected * MIB), Bytes(high * MIB))


def ram(cache: int = 500, compute: Range | None = None, usable: int = 8 * GIB) -> DeviceFootprint:
    kept = mib(cache, cache, cache)
    return DeviceFootprint(
        "RAM", DeviceKind.RAM, 0, Bytes(10 * GIB), Bytes(usable), weights=mib(950, 990, 1010), kv_cache=kept,
        kv_needed=kept, compute=compute or mib(20, 30, 45), overhead=mib(40, 60, 90),
    )  # fmt: skip


def gpu(index: int = 0) -> DeviceFootprint:
    return DeviceFootprint(
        f"GPU {index}", DeviceKind.GPU, index, Bytes(24 * GIB), Bytes(23 * GIB), weights=mib(4000, 5000, 6000),
        kv_cache=mib(100, 100, 100), kv_needed=mib(100, 100, 100), compute=mib(200, 300, 400),
        overhead=mib(0, 350, 800),
    )  # fmt: skip


def footprint(*devices: DeviceFootprint, context: int = 4096, parallel: int = 2) -> Footprint:
    return Footprint("llama.cpp", context, parallel, "f16", devices or (ram(),))


def parts(device: DeviceFootprint) -> Mapping[str, Range]:
    names = ("weights", "kv_cache", "compute", "overhead")
    return {name: getattr(device, name) for name in names}


def test_the_same_run_is_as_it_was_logged() -> None:
    found = corrected(footprint(), footprint(), ONE)
    assert found.basis is FootprintBasis.MEASURED
    device = found.devices[0]
    assert parts(device) == {
        "weights": mib(1000, 1000, 1000), "kv_cache": mib(512, 512, 512), "compute": mib(40, 40, 40),
        # What the process holds beside weights and KV cache: 1600 - 1000 - 512.
        "overhead": mib(88, 88, 88),
    }  # fmt: skip
    assert device.kv_needed == device.kv_cache
    reason = found.reasons[0]
    assert reason.code == "measured"
    assert "2026-11-22" in reason.text.render()
    assert "b11549" in reason.source


def test_another_context_keeps_what_does_not_depend_on_it() -> None:
    """Twice the cells are twice the KV cache; compute buffers move by what the forecast of the measured run was off."""
    now = footprint(ram(1000, mib(30, 50, 70)), context=8192)
    found = corrected(now, footprint(), ONE)
    assert found.basis is FootprintBasis.SCALED
    assert parts(found.devices[0]) == {
        "weights": mib(1000, 1000, 1000), "kv_cache": mib(1024, 1024, 1024), "compute": mib(40, 60, 80),
        "overhead": mib(88, 88, 88),
    }  # fmt: skip
    reason = found.reasons[0]
    assert reason.code == "measured-scaled"
    assert "4096" in reason.text.render()


def test_more_parallel_is_another_run_too() -> None:
    assert corrected(footprint(parallel=4), footprint(), ONE).basis is FootprintBasis.SCALED


def test_the_measured_peak_decides_what_fits() -> None:
    """Loaded it held 1600 MiB, later 3 GiB: where 2 GiB can be used it does not fit."""
    small = footprint(ram(usable=2 * GIB))
    assert corrected(small, small, ONE).fits
    grown = replace(ONE, speeds=Speeds(peak=Bytes(3 * GIB)))
    found = corrected(small, small, grown)
    assert found.devices[0].total.high == 3 * GIB
    assert not found.fits
    assert [one.code for one in found.reasons].count("does-not-fit") == 1


def test_what_grows_later_is_counted_on_top() -> None:
    found = corrected(footprint(), footprint(), ONE, grows=500 * MIB).devices[0]
    assert found.overhead == mib(88, 588, 588)


def test_a_forecast_that_was_too_careful_no_longer_refuses() -> None:
    tight = footprint(replace(ram(usable=1700 * MIB), overhead=mib(40, 60, 900)))
    assert not tight.fits
    found = corrected(tight, tight, ONE)
    assert found.fits
    assert all(one.code != "does-not-fit" for one in found.reasons)


def test_what_nobody_could_measure_stays_as_it_was_forecast() -> None:
    silent = replace(ONE, resident=None, memory={"CPU": {"kv_cache": Bytes(512 * MIB)}})
    device = corrected(footprint(), footprint(), silent).devices[0]
    assert (device.weights, device.compute, device.overhead) == (ram().weights, ram().compute, ram().overhead)
    assert device.kv_cache == mib(512, 512, 512)


def test_pages_that_were_never_read_tell_nothing_of_the_process() -> None:
    unread = replace(ONE, resident=Bytes(700 * MIB), speeds=Speeds())
    assert corrected(footprint(), footprint(), unread).devices[0].overhead == ram().overhead


SILENT = replace(ONE, memory={}, speeds=Speeds())


def test_an_engine_whose_log_tells_no_parts_is_measured_as_a_whole() -> None:
    """1600 MiB were held: the weights as the files say, the rest beside them; what a full context adds is forecast."""
    found = corrected(footprint(), footprint(), SILENT)
    assert found.basis is FootprintBasis.MEASURED
    device = found.devices[0]
    assert parts(device) == {
        "weights": mib(990, 990, 990), "kv_cache": ram().kv_cache, "compute": ram().compute,
        "overhead": mib(610, 610, 610),
    }  # fmt: skip
    assert device.weights.expected + device.overhead.expected == SILENT.resident
    assert "1.6 GiB of RAM after the first answer" in found.reasons[0].text.render()
    assert corrected(footprint(context=8192), footprint(), SILENT).basis is FootprintBasis.SCALED


def test_its_peak_decides_what_fits_too() -> None:
    found = corrected(footprint(), footprint(), replace(SILENT, speeds=Speeds(peak=Bytes(9 * GIB))))
    assert found.devices[0].total.high == 9 * GIB
    assert not found.fits
    assert [one.code for one in found.reasons].count("does-not-fit") == 1


@pytest.mark.parametrize("resident", [None, Bytes(700 * MIB)])
def test_without_a_whole_it_stays_a_forecast_with_its_peak(resident: Bytes | None) -> None:
    """Nobody could tell, or pages of the files were not read yet."""
    silent = replace(SILENT, resident=resident)
    assert corrected(footprint(), footprint(), silent) == footprint()
    grown = corrected(footprint(), footprint(), replace(silent, speeds=Speeds(peak=Bytes(9 * GIB))))
    assert grown.basis is FootprintBasis.FORECAST
    assert grown.devices[0].total.high == 9 * GIB


def test_a_whole_is_told_of_one_gpu_and_not_divided_between_two() -> None:
    host = replace(ram(), weights=NOTHING)
    one, two = footprint(gpu(), host), footprint(gpu(0), gpu(1), host)
    silent = replace(SILENT, gpu_memory=Bytes(5600 * MIB))
    card, rest = corrected(one, one, silent).devices
    assert (card.weights, card.overhead) == (mib(5000, 5000, 5000), mib(600, 600, 600))
    assert (rest.weights, rest.overhead) == (NOTHING, mib(1600, 1600, 1600))
    assert corrected(two, two, silent) == two
    assert corrected(one, one, SILENT) == one


def test_a_log_that_tells_the_cache_alone_leaves_weights_as_the_files_say() -> None:
    """As vLLM's on a processor: all of it together is what its processes held."""
    filled = replace(ONE, memory={"": {"kv_cache": Bytes(512 * MIB)}}, speeds=Speeds())
    found = corrected(footprint(), footprint(), filled)
    assert found.basis is FootprintBasis.MEASURED
    assert parts(found.devices[0]) == {
        "weights": mib(990, 990, 990), "kv_cache": mib(512, 512, 512), "compute": ram().compute,
        "overhead": mib(98, 98, 98),
    }  # fmt: skip


def test_each_gpu_gets_its_own_buffers() -> None:
    both = footprint(gpu(0), gpu(1), ram())
    memory = {
        "CUDA0": {"weights": Bytes(4800 * MIB), "compute": Bytes(250 * MIB)}, "CUDA1": {"weights": Bytes(4700 * MIB)},
        "CUDA_Host": {"compute": Bytes(12 * MIB)}, "CPU": {"weights": Bytes(300 * MIB)},
    }  # fmt: skip
    first, second, host = corrected(both, both, replace(ONE, memory=memory, resident=None)).devices
    assert (first.weights, second.weights) == (mib(4800, 4800, 4800), mib(4700, 4700, 4700))
    assert (first.compute, second.compute) == (mib(250, 250, 250), gpu().compute)
    assert (host.weights, host.compute) == (mib(300, 300, 300), mib(12, 12, 12))
    # Which card the driver's own share lies on is not told where there are two.
    assert first.overhead == gpu().overhead


def test_what_the_driver_holds_on_the_only_gpu_is_measured() -> None:
    one = footprint(gpu(), ram())
    memory = {"": {"weights": Bytes(4800 * MIB), "kv_cache": Bytes(100 * MIB), "compute": Bytes(200 * MIB)}}
    found = corrected(one, one, replace(ONE, memory=memory, gpu_memory=Bytes(5500 * MIB))).devices[0]
    assert found.overhead == mib(400, 400, 400)
    assert found.total == mib(5500, 5500, 5500)


def test_buffers_without_a_device_are_not_guessed_among_two_gpus() -> None:
    both = footprint(gpu(0), gpu(1), ram())
    memory = {"": {"weights": Bytes(4800 * MIB)}}
    assert corrected(both, both, replace(ONE, memory=memory)).devices == both.devices


def test_an_engine_that_fills_what_it_was_given_needs_no_more_than_is_asked() -> None:
    """vLLM's cache is as large as its budget: what is needed of it stays with the forecast."""
    filling = replace(gpu(), kv_cache=mib(9000, 10_000, 11_000), kv_needed=mib(700, 700, 700))
    one = footprint(filling, replace(ram(), weights=NOTHING))
    memory = {"": {"kv_cache": Bytes(9500 * MIB)}}
    filled = replace(ONE, memory=memory, kv_tokens=123_456)
    found = corrected(one, one, filled)
    assert found.devices[0].kv_cache == mib(9500, 9500, 9500)
    assert found.devices[0].kv_needed == mib(700, 700, 700)
    assert found.kv_capacity_tokens == 123_456


SPEED = SpeedForecast("llama.cpp", SpeedRange(10.0, 20.0, 40.0), SpeedRange(100.0, 200.0, 400.0))


def test_a_speed_is_moved_and_narrowed() -> None:
    found = calibrated(SPEED, [MeasuredSpeed(30.0, None, 20.0, 200.0)], samples=3)
    assert found.decode == SpeedRange(30.0 / SAME_MODEL, 30.0, 30.0 * SAME_MODEL)
    assert found.prefill == SPEED.prefill
    told = {one.code: one.text.render() for one in found.reasons}
    assert set(told) == {"speed.calibrated-decode"}
    assert "+50 %" in told["speed.calibrated-decode"]
    assert "3 measurements" in told["speed.calibrated-decode"]


def test_a_speed_is_compared_with_the_forecast_of_its_own_run() -> None:
    """Measured 15 where 10 were forecast: what is forecast for another context is moved by the same half."""
    found = calibrated(SPEED, [MeasuredSpeed(15.0, None, 10.0, None)], samples=1)
    assert found.decode is not None
    assert found.decode.expected == pytest.approx(30.0)


def test_a_range_never_grows() -> None:
    narrow = replace(SPEED, decode=SpeedRange(19.0, 20.0, 21.0))
    found = calibrated(narrow, [MeasuredSpeed(40.0, None, 20.0, None)], samples=1).decode
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(38.0), pytest.approx(42.0))


def test_what_could_not_be_forecast_is_as_it_was_measured() -> None:
    found = calibrated(replace(SPEED, prefill=None), [MeasuredSpeed(prefill=300.0)], samples=2)
    assert found.prefill == SpeedRange(300.0 / NO_FORECAST, 300.0, 300.0 * NO_FORECAST)


@pytest.mark.parametrize("measured", [MeasuredSpeed(), MeasuredSpeed(2000.0, None, 20.0, None)])
def test_what_is_missing_or_absurd_changes_nothing(measured: MeasuredSpeed) -> None:
    assert calibrated(SPEED, [measured], samples=1) == SPEED
