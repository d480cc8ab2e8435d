"""Measuring the RAM's bandwidth on the machine that the tests run on."""

import psutil

from ansambl.hardware.probes import bandwidth


def test_it_measures_what_memory_can_do():
    measured = bandwidth.measure_ram_bandwidth(2)
    # A single channel of DDR3 does more than the one, no memory does the other.
    assert measured is not None
    assert 1e9 < measured < 2e12


def test_it_leaves_a_full_machine_alone(monkeypatch):
    full = psutil.virtual_memory()._replace(available=512 * 2**20)
    monkeypatch.setattr(bandwidth.psutil, "virtual_memory", lambda: full)
    assert bandwidth.measure_ram_bandwidth(4) is None
