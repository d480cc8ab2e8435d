"""The real product on a socket with fake engines, for requests that are made up from its own description.

As a program it does so for a long time: ``python tests/support/api_stage.py SECONDS``, half of them for each document.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from product import environment, wait_for

from ansambl.foundation.network import free_port
from ansambl.testing.fake_engine import fake_engine_command

ADMIN_DOCUMENT, GATEWAY_DOCUMENT = "/admin/api/openapi.json", "/openapi.json"

_TAME = Path(__file__).with_name("tame_product.py")

_CONFIGURATION = """\
[models.big]
address = "{address}"
name = "fake"
aliases = ["gpt-4o"]

[models.small]
command = '{command}'
parallel = 2

[roles.helper]
model = "small"
instruction = "You are brief."
"""


@dataclass
class TameProduct:
    """A running ``ansambl up`` that the admin API cannot stop."""

    address: str
    data: Path
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def token(self) -> str:
        return str(json.loads((self.data / "state.json").read_text(encoding="utf-8"))["token"])

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text(encoding="utf-8", errors="replace")
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.address}/health", trust_env=False).status_code == 200
        return False

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(
            base_url=self.address, headers={"authorization": f"Bearer {self.token}", **headers}, timeout=60,
            trust_env=False,
        )  # fmt: skip

    @property
    def stops(self) -> int:
        file = self.data.parent / "stops"
        return len(file.read_text(encoding="utf-8").split()) if file.exists() else 0


@contextlib.contextmanager
def tame_product(folder: Path) -> Iterator[TameProduct]:
    """Start one in `folder`; it is ended with all its engines."""
    port, data, engine = free_port(), folder / "data", free_port()
    config = folder / "ansambl.toml"
    command = " ".join(fake_engine_command("{port}", tokens_per_second=2000, slots=2))
    address = f"http://127.0.0.1:{engine}/v1"
    config.write_text(_CONFIGURATION.format(address=address, command=command), encoding="utf-8")
    with _ended(subprocess.Popen(fake_engine_command(engine, tokens_per_second=2000), stderr=subprocess.DEVNULL)):
        log = folder / "up.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                # Offline: what is made up must not make it ask a hub or a package index.
                [sys.executable, str(_TAME), "up", "--offline", "--config", str(config), "--port", str(port)],
                env=environment(data, TAME_STOPS=str(folder / "stops"), HOME=str(folder)), stdout=output,
                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True, cwd=folder,
            )  # fmt: skip
        found = TameProduct(f"http://127.0.0.1:{port}", data, process, log)
        with _ended(process):
            wait_for(found.answers, "the product", 60)
            with found.client() as client:
                # From the first key on every request needs one.
                assert client.post("/admin/api/keys", json={"name": "somebody"}).status_code == 201
            yield found


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def schemathesis(
    product: TameProduct, document: str, folder: Path, *, examples: int, seconds: int | None = None, seed: int = 7,
    phases: str = "examples,coverage,fuzzing,stateful", workers: int = 1, more: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """Have the product's document turned into requests, good and bad, and their answers held against it."""
    config = folder / "schemathesis.toml"
    config.write_text(
        f"""\
seed = {seed}
[headers]
Authorization = "Bearer {product.token}"
[generation]
max-examples = {examples}
deterministic = {"true" if seconds is None else "false"}
database = "none"
[checks.not_a_server_error]
# These are answers of ours, described for each route that has them; 500 is none.
expected-statuses = ["2xx", "4xx", "501", "502", "503"]
[checks.positive_data_acceptance]
# A request can be well-formed and still name what is not there, or ask for what contradicts itself.
enabled = false
""",
        encoding="utf-8",
    )
    words = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", f"{product.address}{document}",
        "--phases", phases, "--workers", str(workers), "--no-color", "--request-timeout", "60", "--continue-on-failure",
        # A stream that does not end by itself; its own tests read it.
        "--warnings", "off", "--exclude-path", "/models/sse", *more,
    ]  # fmt: skip
    if seconds is not None:
        words += ["--max-time", str(seconds)]
    environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    limit = 300 if seconds is None else 2 * seconds + 120
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder, env=environ, timeout=limit)


def main() -> int:
    """Make requests up for as many seconds as the command line says; 1 where an answer was wrong."""
    seconds, wrong = int(sys.argv[1]), 0
    for document in (ADMIN_DOCUMENT, GATEWAY_DOCUMENT):
        with tempfile.TemporaryDirectory() as name, tame_product(Path(name)) as product:
            found = schemathesis(
                product, document, Path(name), examples=100_000, seconds=seconds // 2, seed=int(time.time())
            )
            print(found.stdout, found.stderr, product.log.read_text(encoding="utf-8")[-2000:], sep="\n")  # noqa: T201
            wrong |= found.returncode
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
