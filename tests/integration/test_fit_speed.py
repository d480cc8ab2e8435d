"""The factors of the speed forecast are those that the fit finds, and hold for sources that it did not see."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_factors_are_the_fitted_ones_and_hold_for_sources_left_out():
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "fit_speed.py"), "--check"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for phase, least in (("decode", 70), ("prefill", 70)):
        assert int(done.stdout.split(f"{phase}: ")[1].split("%")[0]) >= least
