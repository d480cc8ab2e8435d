"""Written by tools/fit_speed.py from tests/data/planner/speed_cases.json; do not edit."""

from __future__ import annotations

from ansambl.planner.speed.roofline import Factors

PROVENANCE = "tools/fit_speed.py on 216 measurements of 27 sources"
"""Where the factors are from."""

_BANDWIDTH = {
    "llama.cpp gpu": 0.9106,
    "llama.cpp amd": 0.9106,
    "llama.cpp stacked": 0.5444,
    "llama.cpp unified": 0.9284,
    "llama.cpp superchip": 0.9284,
    "llama.cpp ram": 0.7452,
    "vllm gpu": 0.9106,
    "vllm stacked": 0.9106,
    "vllm superchip": 0.9284,
    "transformers gpu": 0.9106,
    "transformers stacked": 0.9106,
}
_SECONDS = {
    "llama.cpp gpu": 7.55e-05,
    "llama.cpp stacked": 7.55e-05,
    "llama.cpp amd": 0.0002075,
    "llama.cpp unified": 0.0001869,
    "llama.cpp superchip": 0.0001869,
    "vllm superchip": 0.0001869,
    "llama.cpp ram": 0.0002772,
    "vllm gpu": 9.141e-05,
    "vllm stacked": 9.141e-05,
    "transformers gpu": 0.0002399,
    "transformers stacked": 0.0002399,
}
_OPERATIONS = {
    "llama.cpp gpu": 0.255,
    "llama.cpp apple": 0.7399,
    "llama.cpp ram": 0.6596,
    "vllm gpu": 0.3969,
    "transformers gpu": 0.3969,
}

_CROWD = {
    "llama.cpp": 0.03289,
    "vllm": 0.3217,
    "transformers": 0.3217,
}

FACTORS = Factors(
    _BANDWIDTH, _SECONDS, _OPERATIONS, experts=26.82, link=0.4069, routing=0.7535,
    sixteen=1.425, pipeline=0.7272, crowd=_CROWD,
)
"""The fitted factors."""

SPREAD = {
    "llama.cpp decode gpu": 0.4539,
    "llama.cpp decode amd": 0.4539,
    "llama.cpp decode stacked": 0.4539,
    "llama.cpp decode unified": 0.4539,
    "llama.cpp decode superchip": 0.4539,
    "llama.cpp decode ram": 0.4539,
    "vllm decode gpu": 0.4625,
    "vllm decode stacked": 0.4625,
    "vllm decode superchip": 0.4625,
    "transformers decode gpu": 0.5329,
    "transformers decode stacked": 0.5329,
    "llama.cpp prefill gpu": 0.4681,
    "llama.cpp prefill amd": 0.4681,
    "llama.cpp prefill stacked": 0.4681,
    "llama.cpp prefill unified": 0.4681,
    "llama.cpp prefill superchip": 0.4681,
    "llama.cpp prefill ram": 0.4681,
    "vllm prefill gpu": 0.5786,
    "vllm prefill stacked": 0.5786,
    "vllm prefill superchip": 0.5786,
    "transformers prefill gpu": 0.4681,
    "transformers prefill stacked": 0.4681,
    "llama.cpp batch gpu": 0.9483,
    "llama.cpp batch amd": 0.9483,
    "llama.cpp batch stacked": 0.9483,
    "llama.cpp batch unified": 0.9483,
    "llama.cpp batch superchip": 0.9483,
    "llama.cpp batch ram": 0.9483,
    "vllm batch gpu": 0.9483,
    "vllm batch stacked": 0.9483,
    "vllm batch superchip": 0.9483,
    "transformers batch gpu": 0.9483,
    "transformers batch stacked": 0.9483,
}
"""By ``"engine phase class"``, the natural logarithm of the factor to either side."""
