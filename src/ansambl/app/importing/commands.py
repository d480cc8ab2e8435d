"""Command lines of engines, read back into a model's table: what Ansambl sets itself, its settings, and the rest.

The flags are those of ``llama-server`` (llama.cpp, common/arg.cpp) and ``vllm serve`` (vLLM's engine arguments); what
has a setting of its own here is found by the engines' own tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from ansambl.domain.text import Text, text
from ansambl.engines.command_lines import EngineLines
from ansambl.engines.command_lines.settings import Kind, Setting
from ansambl.engines.registry import get_lines

_SHORT = {
    "-m": "--model", "-hf": "--hf-repo", "-hfr": "--hf-repo", "-hff": "--hf-file", "-c": "--ctx-size",
    "-np": "--parallel", "-ngl": "--n-gpu-layers", "--gpu-layers": "--n-gpu-layers", "-fa": "--flash-attn",
    "-ctk": "--cache-type-k", "-ctv": "--cache-type-v", "-b": "--batch-size", "-ub": "--ubatch-size",
    "-t": "--threads", "-tb": "--threads-batch", "-ncmoe": "--n-cpu-moe", "-cmoe": "--cpu-moe",
    "-ncffn": "--n-cpu-ffn", "-kvu": "--kv-unified", "-no-kvu": "--no-kv-unified", "-kvo": "--kv-offload",
    "-nkvo": "--no-kv-offload", "-sm": "--split-mode", "-ts": "--tensor-split", "-mg": "--main-gpu",
    "-mm": "--mmproj", "-md": "--model-draft", "--spec-draft-model": "--model-draft", "-a": "--alias",
    "-cram": "--cache-ram", "-ctxcp": "--ctx-checkpoints", "--swa-checkpoints": "--ctx-checkpoints",
    "-lm": "--load-mode", "-tp": "--tensor-parallel-size", "-pp": "--pipeline-parallel-size",
    "-dp": "--data-parallel-size", "-q": "--quantization",
}  # fmt: skip
_OURS = {"--host", "--port"}
_SECRETS = {"--api-key", "--api-key-file", "--hf-token", "--ssl-key-file", "--ssl-cert-file", "-hft"}
_SWITCHES = {"on": True, "1": True, "true": True, "enabled": True, "off": False, "0": False, "false": False,
             "disabled": False}  # fmt: skip
_SIXTEEN = {"f16", "auto"}
_PLACES = {"--model": "checkpoint", "--mmproj": "mmproj", "--model-draft": "draft"}
_TEXTS = {*_PLACES, "--hf-repo", "--hf-file", "--cache-type-k", "--cache-type-v", "--alias"}
_LOADING = {
    "--mmap": ("mmap", True),
    "--no-mmap": ("mmap", False),
    "--mlock": ("mlock", True),
    "--direct-io": ("dio", True),
    "-dio": ("dio", True),
}
_NUMBERS = {"--ctx-size", "--parallel", "--threads", "--cache-ram"}
_COUNTS = {"--max-num-seqs": "parallel", "--tensor-parallel-size": "tensor_parallel"}
_PARSERS = {"--tool-call-parser": "tool_call_parser", "--reasoning-parser": "reasoning_parser"}
_REPO = re.compile(r"[\w.-]+/[\w.-]+(?::[\w.-]+)?")


@dataclass
class ReadCommand:
    """What a command says: `table` is the model's, `program` the path of the engine's where the command names one."""

    table: dict[str, Any]
    program: str | None = None
    left: list[Text] = field(default_factory=list)


def read_command(words: Sequence[str]) -> ReadCommand | None:
    """The command of an engine that Ansambl starts itself; None for any other, and for what it cannot tell for sure."""
    if not words:
        return None
    name = PurePath(words[0]).name.removesuffix(".exe")
    if name == "llama-server":
        return _LlamaServer(words[1:], words[0]).read()
    if name == "vllm" and words[1:2] == ["serve"]:
        return _Vllm(words[2:], words[0]).read()
    if name.startswith("python") and list(words[1:3]) == ["-m", "vllm.entrypoints.openai.api_server"]:
        return _Vllm(words[3:], words[0], python=True).read()
    return None


class _Words:
    """The words of a command, one flag after the other; ``--flag=value`` counts as two words."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words: list[str] = []
        for one in words:
            name, equals, value = one.partition("=")
            self._words += [name, value] if one.startswith("--") and equals else [one]
        self._at = 0

    def __iter__(self) -> Iterator[str]:
        while self._at < len(self._words):
            self._at += 1
            yield self._words[self._at - 1]

    def value(self) -> str | None:
        """The next word, if it is a value."""
        if self._at >= len(self._words):
            return None
        found = self._words[self._at]
        if found.startswith("-") and not re.fullmatch(r"-\d+(\.\d+)?", found):
            return None
        self._at += 1
        return found

    def peek(self) -> str | None:
        return self._words[self._at] if self._at < len(self._words) else None


class _Reader:
    """What both engines share."""

    engine: str

    def __init__(self, words: Sequence[str], program: str) -> None:
        self.words = _Words(words)
        self.lines: EngineLines = get_lines(self.engine)
        self.flags = {one.flag: (one, True) for one in self.lines.settings if one.flag and not one.forecast_only}
        self.flags |= {one.off: (one, False) for one in self.lines.settings if one.off}
        self.settings: dict[str, Any] = {}
        self.arguments: list[str] = []
        self.found = ReadCommand({"engine": self.engine})
        if "/" in program or "\\" in program:
            self.found.program = program

    def finish(self) -> ReadCommand:
        if self.settings:
            self.found.table["settings"] = self.settings
        if self.arguments:
            self.found.table["arguments"] = self.arguments
        return self.found

    def take_number(self, key: str, least: int = 1) -> int | None:
        value = self.words.value()
        if value is None or not value.lstrip("-").isdecimal() or int(value) < least:
            self.found.left.append(text("{key} {value} has no meaning here", key=key, value=value or ""))
            return None
        return int(value)

    def take_setting(self, one: Setting, *, on: bool) -> None:
        if one.kind is Kind.SWITCH:
            self.settings[one.name] = on
            return
        value = self.words.value()
        if value is None:
            self.found.left.append(text("{key} has no value", key=one.flag or one.name))
        elif one.kind in {Kind.WHOLE, Kind.LAYERS} and value.lstrip("-").isdecimal():
            self.settings[one.name] = int(value)
        elif one.kind is Kind.NUMBER:
            try:
                self.settings[one.name] = float(value)
            except ValueError:
                self.found.left.append(text("{key} {value} has no meaning here", key=one.flag or "", value=value))
        else:
            self.settings[one.name] = value

    def take_common(self, flag: str) -> bool:
        """Flags that mean the same to both engines; whether this was one."""
        if flag in _OURS:
            self.words.value()
        elif flag in _SECRETS:
            self.words.value()
            self.found.left.append(text("{key} is a secret or belongs to one: Ansambl protects its engines itself",
                                        key=flag))  # fmt: skip
        elif flag in self.flags:
            one, on = self.flags[flag]
            self.take_setting(one, on=on)
        else:
            return False
        return True


class _LlamaServer(_Reader):
    engine = "llama.cpp"

    def __init__(self, words: Sequence[str], program: str) -> None:
        super().__init__(words, program)
        self._texts: dict[str, str] = {}
        self._numbers: dict[str, int | None] = {}
        self._loading: dict[str, bool] = {}

    def read(self) -> ReadCommand | None:
        table, texts, numbers = self.found.table, self._texts, self._numbers
        for word in self.words:
            self._take(word, _SHORT.get(word, word))
        table |= {key: texts[flag] for flag, key in _PLACES.items() if texts.get(flag)}
        repo, file = texts.get("--hf-repo", ""), texts.get("--hf-file")
        if "checkpoint" not in table and repo:
            table["checkpoint"] = f"{repo.partition(':')[0]}/{file}" if file else repo
            self.found.left.append(
                text("fetch its files with: ansambl models pull {reference}", reference=table["checkpoint"])
            )
        if not table.get("checkpoint"):
            return None
        if threads := numbers.get("--threads"):
            table["threads"] = threads
        if (mebibytes := numbers.get("--cache-ram")) is not None:
            self.settings["prompt_cache"] = f"{mebibytes}MiB"
        self._context(numbers.get("--ctx-size"), numbers.get("--parallel"))
        self._kv_type(texts.get("--cache-type-k", "f16").lower(), texts.get("--cache-type-v", "f16").lower())
        self._load_mode()
        return self.finish()

    def _take(self, word: str, flag: str) -> None:
        if flag in _TEXTS:
            self._texts[flag] = self.words.value() or ""
        elif flag in _NUMBERS:
            self._numbers[flag] = self.take_number(flag, least=0 if flag == "--cache-ram" else 1)
        elif flag == "--n-gpu-layers":
            self._layers()
        elif flag == "--flash-attn":
            self._flash_attention()
        elif flag in _LOADING:
            name, on = _LOADING[flag]
            self._loading[name] = on
        elif not self.take_common(flag):
            self.arguments.append(word)

    def _layers(self) -> None:
        value = self.words.value() or "all"
        if value.isdecimal() and int(value) < _MANY:
            self.settings["n_gpu_layers"] = int(value)

    def _flash_attention(self) -> None:
        # Older versions took no value.
        value = (self.words.peek() or "").lower()
        if value in _SWITCHES or value == "auto":
            self.words.value()
        if value != "auto":
            self.settings["flash_attention"] = _SWITCHES.get(value, True)

    def _load_mode(self) -> None:
        """The switches of older builds, which newer ones refuse: there they are values of ``--load-mode``."""
        mapped, locked = self._loading.get("mmap", True), self._loading.get("mlock", False)
        if self._loading.get("dio"):
            mode = "dio"
        elif mapped:
            mode = "mmap+mlock" if locked else ""
        else:
            mode = "mlock" if locked else "none"
        if mode:
            self.settings.setdefault("load_mode", mode)

    def _context(self, context: int | None, parallel: int | None) -> None:
        """llama-server's context is that of all slots together, unless they share one cache."""
        table = self.found.table
        if parallel is not None:
            table["parallel"] = parallel
        if context is not None:
            shared = self.settings.get("kv_unified") is True
            table["context"] = max(_LEAST_CONTEXT, context if shared else context // (parallel or 1))

    def _kv_type(self, key: str, value: str) -> None:
        if not {key, value} <= _SIXTEEN:
            self.found.table["kv_type"] = key if key == value else f"{key}/{value}"


class _Vllm(_Reader):
    engine = "vllm"

    def __init__(self, words: Sequence[str], program: str, *, python: bool = False) -> None:
        super().__init__(words, program)
        if self.found.program is not None and not python:
            # Of an environment the Python counts; the script lies beside it.
            self.found.program = str(PurePath(program).with_name("python"))
            self.found.left.append(
                text("the Python of its environment is taken to be {program}", program=self.found.program)
            )

    def read(self) -> ReadCommand | None:
        table = self.found.table
        for word in self.words:
            self._take(word, _SHORT.get(word, word).replace("_", "-") if word.startswith("-") else word)
        checkpoint = table.get("checkpoint")
        if not checkpoint:
            return None
        if _REPO.fullmatch(checkpoint):
            self.found.left.append(
                text("fetch its files with: ansambl models pull {reference} --engine vllm", reference=checkpoint)
            )
        return self.finish()

    def _take(self, word: str, flag: str) -> None:
        table = self.found.table
        if flag in _COUNTS:
            count, key = self.take_number(flag), _COUNTS[flag]
            (table if key == "parallel" else self.settings).update({key: count} if count else {})
        elif flag in _PARSERS:
            self.settings[_PARSERS[flag]] = self.words.value() or ""
        elif flag == "--model" or (not word.startswith("-") and "checkpoint" not in table and not self.arguments):
            table["checkpoint"] = (self.words.value() or "") if flag == "--model" else word
        elif flag == "--max-model-len":
            self._length()
        elif flag == "--kv-cache-dtype":
            value = self.words.value()
            table.update({"kv_type": value} if value and value != "auto" else {})
        elif flag == "--served-model-name":
            self._names()
        # Ansambl says the last one itself where there is a parser.
        elif flag != "--enable-auto-tool-choice" and not self.take_common(flag):
            self.arguments.append(word)

    def _length(self) -> None:
        value = self.words.value() or ""
        match = re.fullmatch(r"(\d+)([kK]?)", value)
        if match:
            scale = {"": 1, "k": 1000, "K": 1024}[match[2]]
            self.found.table["context"] = max(_LEAST_CONTEXT, int(match[1]) * scale)
        else:
            self.found.left.append(text("{key} {value} has no meaning here", key="--max-model-len", value=value))

    def _names(self) -> None:
        names = []
        while (name := self.words.value()) is not None:
            names.append(name)
        self.found.table["aliases"] = names


_MANY, _LEAST_CONTEXT = 99, 128
"""From so many layers on people mean all of them; the least context that a configuration takes."""
