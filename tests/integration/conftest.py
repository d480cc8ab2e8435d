"""The product as its users start it, on a data folder of its own that has the embedded model already."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from gateway_stage import running as running  # noqa: PLC0414 - a fixture of the gateway's tests
from own_log import own_log_of as own_log_of  # noqa: PLC0414
from product import Started, alive, make_data_folder, run_command, start_product, wait_for

from ansambl.testing.fake_hub import FakeHub

Starter = Callable[..., Started]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """A hub of this machine's own in place of the real one; nothing of the user's is looked at."""
    with FakeHub() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.endpoint)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        # Where Ollama and LM Studio would keep models.
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.delenv("OLLAMA_MODELS", raising=False)
        for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
            monkeypatch.delenv(name, raising=False)
        yield found


@pytest.fixture
def data_folder(tmp_path: Path, embedded_model_folder: Path) -> Path:
    """A data folder that has the embedded model already."""
    return make_data_folder(tmp_path / "data", embedded_model_folder)


@pytest.fixture
def start(tmp_path: Path, data_folder: Path) -> Iterator[Starter]:
    """Start products; all are ended, with their engines, when the test is over."""
    running: list[Started] = []

    def begin(
        configuration: str = "", *, arguments: Sequence[str] = (), ready: bool = True, data: Path = data_folder,
        port: int | None = None,
    ) -> Started:  # fmt: skip
        config = tmp_path / "ansambl.toml"
        config.write_text(configuration, encoding="utf-8")
        log = tmp_path / f"up-{len(running)}.log"
        path = "/ready" if ready else "/health"
        started = start_product(data, config, log, *arguments, port=port, path=path)
        running.append(started)
        return started

    yield begin
    for one in running:
        one.end()
    run_command("down", data=data_folder)
    seen = set[int]().union(*(one.seen for one in running))
    wait_for(lambda: not alive(seen), f"no process left of {seen}", 15)
