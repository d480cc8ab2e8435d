"""Clients of others, as ``make test-clients`` installs them, in environments of their own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import scripted_model
from foreign_programs import output_of
from gateway_stage import running as running  # noqa: PLC0414 - a fixture of the gateway's tests
from product import Started, alive, make_data_folder, run_command, start_product, wait_for

VARIABLE = "ANSAMBL_TEST_CLIENTS"
"""Names the folder into which the clients were installed; without it these tests are skipped."""

HERE = Path(__file__).parent
Script = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture(scope="session")
def clients() -> Path:
    """The folder of all clients."""
    folder = os.environ.get(VARIABLE)
    if folder is None:
        pytest.skip("the clients of others are not installed for tests; make test-clients installs and runs them")
    return Path(folder)


@pytest.fixture(scope="session")
def python_client(clients: Path) -> Path:
    """The folder with the programs of the Python clients."""
    return clients / "venv" / "bin"


@pytest.fixture(scope="session")
def node_folder(clients: Path) -> Path:
    """Where the npm clients are installed, with our scripts beside them; skipped where there is no Node.js."""
    if shutil.which("node") is None:
        pytest.skip("no Node.js on this machine (on Debian and Ubuntu: apt-get install nodejs npm)")
    folder = clients / "node"
    if not (folder / "node_modules").is_dir():
        pytest.skip("the npm clients are not installed: put npm on the PATH and run make test-clients")
    for script in (HERE / "node").glob("*.mjs"):
        shutil.copy(script, folder)
    return folder


@pytest.fixture
def node(node_folder: Path) -> Script:
    """Runs one of our scripts in ``node/`` and gives back what it printed."""

    async def run(script: str, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await output_of("node", node_folder / f"{script}.mjs", *arguments))
        return found

    return run


@pytest.fixture
def python(python_client: Path) -> Script:
    """Runs one of our scripts in ``python/`` and gives back what it printed."""

    async def run(script: str, *arguments: str) -> dict[str, Any]:
        program = HERE / "python" / f"{script}.py"
        found: dict[str, Any] = json.loads(await output_of(python_client / "python", program, *arguments))
        return found

    return run


@pytest.fixture
def capable(running: Any) -> Any:
    """A gateway in front of a model that calls tools, thinks and looks at images."""
    running.engine.script = scripted_model.answer
    return running


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory, embedded_model_folder: Path) -> Iterator[Started]:
    """The product with the real embedded model."""
    folder = tmp_path_factory.mktemp("clients")
    config = folder / "ansambl.toml"
    # Its file under another name, so that nothing is added to requests, and with so little room that a model this small
    # soon comes to an end when it rambles.
    (file,) = embedded_model_folder.glob("*.gguf")
    config.write_text(CONFIGURATION.format(file=json.dumps(str(file))), encoding="utf-8")
    data = make_data_folder(folder / "data", embedded_model_folder)
    started = start_product(data, config, folder / "up.log")
    yield started
    started.end()
    run_command("down", data=data)
    wait_for(lambda: not alive(started.seen), f"no process left of {started.seen}", 15)


CONFIGURATION = """
[models.small]
checkpoint = {file}
context = 1024
parallel = 2
"""
