"""The owner's own measurements correct a forecast."""

import pytest

from ansambl.domain.speed import SpeedForecast, SpeedRange
from ansambl.planner.calibration import OTHER_MODEL, SAME_MODEL, MeasuredSpeed, calibrated, device_key

FORECAST = SpeedForecast(
    "vllm", SpeedRange(50, 100, 200), SpeedRange(500, 1000, 2000), (), SpeedRange(100, 400, 1600), 8
)
CARD = device_key(["rtx-4090"])


def measured(**facts):
    known = {"engine": "vllm", "device": CARD, "model": "a", "decode": 120.0, "forecast_decode": 100.0} | facts
    return MeasuredSpeed(**known)


def corrected(*records, forecast=FORECAST, model="a"):
    return calibrated(forecast, records, device=CARD, model=model)


def test_a_measurement_of_the_same_model_moves_and_narrows():
    found = corrected(measured())
    assert found.decode == SpeedRange(120 / SAME_MODEL, 120, 120 * SAME_MODEL)
    assert found.prefill == FORECAST.prefill
    assert found.batch == SpeedRange(120, 480, 1920)
    assert [reason.code for reason in found.reasons] == ["speed.calibrated-decode"]
    assert "+20 %" in str(found.reasons[0].text)


def test_another_model_tells_less():
    found = corrected(measured(model="b"))
    assert found.decode.expected == pytest.approx(120)
    assert found.decode.high == pytest.approx(120 * OTHER_MODEL)


def test_the_same_model_counts_before_others():
    assert corrected(measured(model="b", decode=50.0), measured()).decode.expected == pytest.approx(120)


def test_one_odd_run_does_not_pull():
    runs = [measured(decode=speed) for speed in (110.0, 112.0, 20.0)]
    assert corrected(*runs).decode.expected == pytest.approx(110)


def test_prefill_is_corrected_by_its_own_measurements():
    found = corrected(measured(decode=None, prefill=500.0, forecast_prefill=1000.0))
    assert found.decode == FORECAST.decode
    assert found.batch == FORECAST.batch
    assert found.prefill.expected == pytest.approx(500)


@pytest.mark.parametrize(
    "record",
    [
        measured(engine="llama.cpp"),
        measured(device=device_key(["rtx-4090", "rtx-4090"])),
        measured(decode=None),
        measured(forecast_decode=None),
        measured(decode=0.0),
        measured(decode=-3.0),
        measured(decode=float("nan")),
        measured(decode=1e9),
    ],
)
def test_what_says_nothing_changes_nothing(record):
    assert corrected(record) == FORECAST


def test_an_unknown_speed_stays_unknown():
    blank = SpeedForecast("vllm", None, None)
    assert corrected(measured(), forecast=blank) == blank


def test_a_range_is_never_made_wider():
    narrow = SpeedForecast("vllm", SpeedRange(95, 100, 105), None, batch=SpeedRange(95, 100, 105))
    found = corrected(measured(), forecast=narrow)
    assert found.decode.high / found.decode.expected == pytest.approx(1.05)
    assert found.batch == found.decode


def test_the_order_of_cards_does_not_matter():
    assert device_key(["b", "a"]) == device_key(["a", "b"]) != device_key(["a"])
