"""The commands that people ask for, kept word by word: what ``ansambl command`` prints for them on a named machine.

Changed on purpose? Write them anew and read the difference::

    ANSAMBL_WRITE_GOLDEN=1 python -m pytest tests/integration/test_launch_commands.py
"""

import json
import os
import shlex
from pathlib import Path

import pytest

from ansambl.cli import main as program

pytestmark = pytest.mark.usefixtures("own_folder")

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "launch_commands" / "commands.json"
CASES = json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.parametrize("question", CASES)
def test_golden(question, capsys):
    code = program.main(["command", *shlex.split(question)])
    captured = capsys.readouterr()
    found = {"code": code, "commands": captured.out.splitlines(), "said": captured.err.splitlines()}
    if os.environ.get("ANSAMBL_WRITE_GOLDEN"):
        kept = json.loads(GOLDEN.read_text(encoding="utf-8"))
        kept[question] = found
        GOLDEN.write_text(json.dumps(kept, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    assert found == json.loads(GOLDEN.read_text(encoding="utf-8"))[question]


def value(words, flag):
    return words[words.index(flag) + 1]


def words_of(question):
    return [shlex.split(line) for line in CASES[question]["commands"]]


def test_the_shares_of_several_models_on_one_card_add_up():
    several = [one for one in CASES if "--engine vllm" in one and len(words_of(one)) == 3]
    assert several
    for question in several:
        shares = [float(value(words, "--gpu-memory-utilization")) for words in words_of(question)]
        assert CASES[question]["code"] == 0
        assert 0.5 < sum(shares) <= 1.0
        assert len({value(words, "--port") for words in words_of(question)}) == 3


def test_what_the_questions_ask_for_stands_in_the_commands():
    """From first principles, whatever the golden file says."""
    (big,) = words_of("gpt-oss-120b --machine rtx-pro-6000-128g --engine vllm")
    assert value(big, "--tool-call-parser") == "openai"
    (small,) = words_of("gpt-oss-120b --machine h100-80g --engine vllm")
    assert int(value(small, "--max-num-seqs")) <= 16
    for question in ("gpt-oss-120b --machine rtx-4090-64g", "mixtral-8x7b --machine rtx-4090-64g --engine llama.cpp"):
        (experts,) = words_of(question)
        assert int(value(experts, "--n-cpu-moe")) > 0
        assert value(experts, "--n-gpu-layers") == "999"
    (lora,) = words_of(
        "qwen3-14b --machine rtx-4090-64g --engine vllm --set lora=style=/loras/style --set max_lora_rank=32"
    )
    assert value(lora, "--lora-modules") == "style=/loras/style"
    assert "--enable-lora" in lora
    (asleep,) = words_of("qwen3-14b --machine rtx-4090-64g --engine vllm --set enable_sleep_mode=on")
    assert "--enable-sleep-mode" in asleep
    (cached,) = words_of("qwen3-14b --machine rtx-4090-64g --engine vllm --set enable_prefix_caching=on")
    assert "--enable-prefix-caching" in cached
