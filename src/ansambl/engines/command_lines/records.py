"""What a command line is made from, and what it is: records that know no engine and no face."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansambl.domain.catalog import ModelKind
from ansambl.domain.text import Text


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA adapter: the name that clients ask for, and its path or repository."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class CommandInputs:
    """One placement as a command line needs it.

    `model` is the name that clients use. The checkpoint lies at `path`, or in the repository `repo` of a model hub (of
    a GGUF repository `file` is the file or a pattern). `exact_repo` is False where no source names the repository of
    this very quantization. `context` is tokens for each of `parallel` sequences. `settings` are those of the planner
    and of the user by name. `gpus` are the indexes of the GPUs to use, empty for none; `vendor` is theirs
    (``"nvidia"``, ``"amd"``). `layers` counts the model's layers, None when unknown. `known_as`
    is what the catalog or a hub calls the model, None for `model` itself. `port` is the engine's own when
    left out.
    """

    model: str
    format: str
    quantization: str
    context: int
    parallel: int = 1
    kv_type: str = "f16"
    settings: Mapping[str, Any] = field(default_factory=dict)
    path: str | None = None
    repo: str | None = None
    file: str | None = None
    exact_repo: bool = True
    gpus: tuple[int, ...] = ()
    vendor: str = "nvidia"
    layers: int | None = None
    kind: ModelKind | None = None
    vision: bool = False
    host: str = "127.0.0.1"
    port: int | None = None
    loras: tuple[Lora, ...] = ()
    mmproj: str | None = None
    draft: str | None = None
    known_as: str | None = None

    @property
    def short_name(self) -> str:
        """The model's own name, by which facts about it are looked up; clients may call it something else."""
        return self.known_as or self.model


@dataclass(frozen=True, slots=True)
class EngineCommand:
    """How an engine is started, as a user would type it.

    `lines` are commands in their order, the one at `serving` stays in the foreground and serves. `environment` is for
    all of them. `files` maps a name in the current folder to its content; they are written first. `key_variable` is
    the environment variable from which the engine takes an API key (no key ever stands in a command), None where it
    has none. `address` is where it answers. `verified` names the version whose documentation or source was followed,
    and says whether the real engine was tried.
    """

    engine: str
    lines: tuple[tuple[str, ...], ...]
    verified: Text
    address: str
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[Text, ...] = ()
    key_variable: str | None = None
    serving: int = 0

    @property
    def argv(self) -> tuple[str, ...]:
        """The command that serves."""
        return self.lines[self.serving]

    def shell(self) -> str:
        """The same for a POSIX shell, quoted; files as here-documents."""
        parts = [_written(name, content) for name, content in self.files.items()]
        words = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        if len(self.lines) == 1:
            parts.append(" ".join([*words, shlex.join(self.lines[0])]))
        else:
            parts += [f"export {word}" for word in words]
            parts += [shlex.join(line) for line in self.lines]
        return "\n".join(parts)


def _written(name: str, content: str) -> str:
    end = "END"
    while end in content.splitlines():
        end += "_"
    return f"cat > {shlex.quote(name)} <<'{end}'\n{content.rstrip()}\n{end}"
