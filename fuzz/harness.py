"""What the harnesses share: a seed corpus, the fuzzer's limits, and what every refusal must look like.

Run them with ``make fuzz``. The fuzzer is atheris (libFuzzer): it sees which branches of the readers an input reaches
and keeps those that reach new ones.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import atheris

_LONGEST = 400
_INPUT_LIMIT = 65_536
_MEMORY_MIB, _SECONDS_PER_INPUT = 700, 10


def check_refusal(words: str) -> None:
    """A refusal is one printable line of sensible length.

    Raises:
        AssertionError: it is not.
    """
    if not words or not words.isprintable() or len(words) > _LONGEST:
        message = f"not one printable line: {words!r:.1000}"
        raise AssertionError(message)


def run(name: str, one_input: Callable[[bytes], None], seeds: Iterable[bytes], words: Iterable[str] = ()) -> None:
    """Write the seeds, then fuzz for FUZZ_SECONDS (60) and exit; a finding exits with another status than 0.

    Args:
        name: of the harness; its corpus lies in a folder of this name below FUZZ_CORPUS (``.venv/fuzz/corpus``).
        one_input: reads one input; whatever it raises is a finding.
        seeds: valid inputs to begin with.
        words: pieces that the fuzzer may insert.
    """
    seconds = int(os.environ.get("FUZZ_SECONDS", "60"))
    root = Path(os.environ.get("FUZZ_CORPUS", ".venv/fuzz/corpus"))
    corpus = root / name
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        (corpus / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
    dictionary = root / f"{name}.dict"
    dictionary.write_text("".join(f'"{_escaped(word)}"\n' for word in words), encoding="ascii")
    options = [
        f"-max_total_time={seconds}", f"-max_len={_INPUT_LIMIT}", f"-rss_limit_mb={_MEMORY_MIB}",
        f"-timeout={_SECONDS_PER_INPUT}", f"-dict={dictionary}", f"-artifact_prefix={root}/{name}-",
        "-print_final_stats=1", "-len_control=20",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, *sys.argv[1:], str(corpus)], one_input, enable_python_coverage=True)
    atheris.Fuzz()


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace('"', '\\"')
