"""Written by tools/fit_speed.py from tests/data/planner/speed_cases.json; do not edit."""

from __future__ import annotations

from ansambl.planner.speed.roofline import Factors

PROVENANCE = "tools/fit_speed.py on 221 measurements of 29 sources"
"""Where the factors are from."""

_BANDWIDTH = {
    "llama.cpp gpu": 0.9492,
    "llama.cpp amd": 0.9492,
    "llama.cpp stacked": 0.5587,
    "llama.cpp unified": 0.9603,
    "llama.cpp superchip": 0.9603,
    "llama.cpp ram": 0.7437,
    "vllm gpu": 0.9492,
    "vllm stacked": 0.9492,
    "vllm superchip": 0.9603,
    "transformers gpu": 0.9492,
    "transformers stacked": 0.9492,
}
_SECONDS = {
    "llama.cpp gpu": 8.252e-05,
    "llama.cpp stacked": 8.252e-05,
    "llama.cpp amd": 0.0001817,
    "llama.cpp unified": 0.0001934,
    "llama.cpp superchip": 0.0001934,
    "vllm superchip": 0.0001934,
    "llama.cpp ram": 0.0002727,
    "vllm gpu": 9.303e-05,
    "vllm stacked": 9.303e-05,
    "transformers gpu": 0.0002437,
    "transformers stacked": 0.0002437,
}
_OPERATIONS = {
    "llama.cpp gpu": 0.2525,
    "llama.cpp apple": 0.7399,
    "llama.cpp ram": 0.6596,
    "vllm gpu": 0.3953,
    "transformers gpu": 0.3953,
}

_CROWD = {
    "llama.cpp": 0.04126,
    "vllm": 0.328,
    "transformers": 0.328,
}

FACTORS = Factors(
    _BANDWIDTH, _SECONDS, _OPERATIONS, experts=25.65, link=0.4069, routing=0.7549,
    sixteen=1.439, pipeline=0.7559, crowd=_CROWD,
)
"""The fitted factors."""

SPREAD = {
    "llama.cpp decode gpu": 0.4648,
    "llama.cpp decode amd": 0.492,
    "llama.cpp decode stacked": 0.4648,
    "llama.cpp decode unified": 0.4648,
    "llama.cpp decode superchip": 0.4648,
    "llama.cpp decode ram": 0.4648,
    "vllm decode gpu": 0.4648,
    "vllm decode stacked": 0.4648,
    "vllm decode superchip": 0.4648,
    "transformers decode gpu": 0.5609,
    "transformers decode stacked": 0.5609,
    "llama.cpp prefill gpu": 0.4805,
    "llama.cpp prefill amd": 0.4805,
    "llama.cpp prefill stacked": 0.4805,
    "llama.cpp prefill unified": 0.4805,
    "llama.cpp prefill superchip": 0.4805,
    "llama.cpp prefill ram": 0.4805,
    "vllm prefill gpu": 0.6153,
    "vllm prefill stacked": 0.6153,
    "vllm prefill superchip": 0.6153,
    "transformers prefill gpu": 0.4805,
    "transformers prefill stacked": 0.4805,
    "llama.cpp batch gpu": 0.9415,
    "llama.cpp batch amd": 0.9415,
    "llama.cpp batch stacked": 0.9415,
    "llama.cpp batch unified": 0.9415,
    "llama.cpp batch superchip": 0.9415,
    "llama.cpp batch ram": 0.9415,
    "vllm batch gpu": 0.9415,
    "vllm batch stacked": 0.9415,
    "vllm batch superchip": 0.9415,
    "transformers batch gpu": 0.9415,
    "transformers batch stacked": 0.9415,
}
"""By ``"engine phase class"``, the natural logarithm of the factor to either side."""
