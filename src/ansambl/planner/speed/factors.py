"""Written by tools/fit_speed.py from tests/data/planner/speed_cases.json; do not edit."""

from __future__ import annotations

from ansambl.planner.speed.roofline import Factors

PROVENANCE = "tools/fit_speed.py on 224 measurements of 29 sources"
"""Where the factors are from."""

_BANDWIDTH = {
    "llama.cpp gpu": 0.9437,
    "llama.cpp amd": 0.9437,
    "llama.cpp stacked": 0.5587,
    "llama.cpp unified": 0.9566,
    "llama.cpp superchip": 0.9566,
    "llama.cpp ram": 0.7437,
    "vllm gpu": 0.9437,
    "vllm stacked": 0.9437,
    "vllm superchip": 0.9566,
    "transformers gpu": 0.9437,
    "transformers stacked": 0.9437,
}
_SECONDS = {
    "llama.cpp gpu": 8.251e-05,
    "llama.cpp stacked": 8.251e-05,
    "llama.cpp amd": 0.0001799,
    "llama.cpp unified": 0.0001923,
    "llama.cpp superchip": 0.0001923,
    "vllm superchip": 0.0001923,
    "llama.cpp ram": 0.0002727,
    "vllm gpu": 9.302e-05,
    "vllm stacked": 9.302e-05,
    "transformers gpu": 0.0002432,
    "transformers stacked": 0.0002432,
}
_OPERATIONS = {
    "llama.cpp gpu": 0.2545,
    "llama.cpp apple": 0.7399,
    "llama.cpp ram": 0.6596,
    "vllm gpu": 0.3961,
    "transformers gpu": 0.3961,
}

_CROWD = {
    "llama.cpp": 0.04054,
    "vllm": 0.3261,
    "transformers": 0.3261,
}

FACTORS = Factors(
    _BANDWIDTH,
    _SECONDS,
    _OPERATIONS,
    experts=26.46,
    link=0.4062,
    routing=0.7549,
    sixteen=1.431,
    pipeline=0.7356,
    crowd=_CROWD,
)
"""The fitted factors."""

SPREAD = {
    "llama.cpp decode gpu": 0.4648,
    "llama.cpp decode amd": 0.4973,
    "llama.cpp decode stacked": 0.4648,
    "llama.cpp decode unified": 0.4648,
    "llama.cpp decode superchip": 0.4648,
    "llama.cpp decode ram": 0.4648,
    "vllm decode gpu": 0.4648,
    "vllm decode stacked": 0.4648,
    "vllm decode superchip": 0.4648,
    "transformers decode gpu": 0.559,
    "transformers decode stacked": 0.559,
    "llama.cpp prefill gpu": 0.4961,
    "llama.cpp prefill amd": 0.4961,
    "llama.cpp prefill stacked": 0.4961,
    "llama.cpp prefill unified": 0.4961,
    "llama.cpp prefill superchip": 0.4961,
    "llama.cpp prefill ram": 0.4961,
    "vllm prefill gpu": 0.6191,
    "vllm prefill stacked": 0.6191,
    "vllm prefill superchip": 0.6191,
    "transformers prefill gpu": 0.4961,
    "transformers prefill stacked": 0.4961,
    "llama.cpp batch gpu": 0.9427,
    "llama.cpp batch amd": 0.9427,
    "llama.cpp batch stacked": 0.9427,
    "llama.cpp batch unified": 0.9427,
    "llama.cpp batch superchip": 0.9427,
    "llama.cpp batch ram": 0.9427,
    "vllm batch gpu": 0.9427,
    "vllm batch stacked": 0.9427,
    "vllm batch superchip": 0.9427,
    "transformers batch gpu": 0.9427,
    "transformers batch stacked": 0.9427,
}
"""By ``"engine phase class"``, the natural logarithm of the factor to either side."""
