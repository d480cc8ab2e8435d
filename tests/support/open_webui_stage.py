"""Ansambl with Open WebUI beside it, on a configuration where two models do not fit together."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from product import Started, make_data_folder, start_product, wait_for

from ansambl.companions.open_webui.keeping import Places
from ansambl.companions.open_webui.records import NAME
from ansambl.engines.installations import engine_folder, read_install_manifest
from ansambl.foundation.network import free_port

START_LIMIT = 420.0
"""Seconds: the full build took 133 s to start on two cores that eight others used."""
NASTY = "<svg|onload=window.hacked=1>" + "x" * 72
"""A name as long as a name may be."""

HANDBOOK = """# Handbook of the lighthouse

## Lamp

The lamp of the lighthouse is lit at sunset. Its bulb has 1000 watts, and the keeper changes it every spring.

## Foghorn

The foghorn sounds every 40 seconds when the visibility is below two miles. Its compressor is oiled every month.
"""

# Only one of the two models fits, so that every request for the other is a swap.
CONFIGURATION = """
[models.first]
checkpoint = "embedded"
context = 2048
parallel = 2

[models.second]
checkpoint = "embedded"
context = 2048
parallel = 2

[budget]
ram = "500MiB"

[knowledge]
embedder = "none"

[knowledge.collections.handbook]
folders = ["{folder}"]

[roles.keeper]
description = "Answers from the handbook of the lighthouse"
instruction = "Answer in one short sentence from the passages."
model = "first"
collections = ["handbook"]
max_tokens = 100
temperature = 0

[roles.other]
description = "Runs on the second model"
instruction = "Answer briefly."
model = "second"
max_tokens = 40

[roles."{nasty}"]
description = "<script>window.hacked=1</script><img src=x onerror='window.hacked=1'>"
instruction = "Answer briefly."
model = "first"

[open_webui]
build = "{build}"
port = {port}
default_model = "keeper"
"""


@dataclass
class Stage:
    """Ansambl with Open WebUI beside it, which can be started again on the same data."""

    data: Path
    config: Path
    log: Path
    port: int
    beside_port: int
    started: Started | None = field(default=None, repr=False)

    @property
    def product(self) -> Started:
        assert self.started is not None
        return self.started

    @property
    def beside_address(self) -> str:
        return f"http://127.0.0.1:{self.beside_port}"

    def start(self, *arguments: str, state: str = "ready", offline: bool = True) -> None:
        if self.started is not None:
            self.started.client.close()
        self.started = start_product(
            self.data, self.config, self.log, *(["--offline"] if offline else []), "--open-webui", *arguments,
            port=self.port,
        )  # fmt: skip
        # Whatever keys there are: it is the owner who looks.
        self.started.client.headers["authorization"] = f"Bearer {self.started.token}"
        self.wait_for_beside(state)

    def wait_for_beside(self, state: str) -> dict[str, Any]:
        wait_for(lambda: self.beside()["state"] == state, f"Open WebUI {state}: {self.beside()}", START_LIMIT)
        return self.beside()

    def beside(self) -> dict[str, Any]:
        (found,) = self.product.state()["companions"]
        return dict(found)

    def metric(self, name: str) -> float:
        """The sum of a family over all its labels."""
        lines = self.product.client.get("/metrics").text.splitlines()
        return sum(float(one.rpartition(" ")[2]) for one in lines if one.startswith((f"{name}{{", f"{name} ")))


def build_in(installed: Path) -> str:
    """The build of Open WebUI that was installed into a data folder: the tests are the same for both."""
    found = read_install_manifest(engine_folder(Places(installed / "companions").programs, NAME))
    assert found is not None, f"no Open WebUI is installed in {installed}"
    return found.build


def make_stage(folder: Path, embedded_model_folder: Path, installed: Path) -> Stage:
    """A data folder with the model, the installed Open WebUI and a collection; nothing runs yet."""
    data = make_data_folder(folder / "data", embedded_model_folder)
    (data / "companions").mkdir()
    (data / "companions" / "programs").symlink_to(installed / "companions" / "programs")
    documents = folder / "documents"
    documents.mkdir()
    (documents / "handbook.md").write_text(HANDBOOK, encoding="utf-8")
    config, beside_port = folder / "ansambl.toml", free_port()
    build = build_in(installed)
    content = CONFIGURATION.format(folder=documents, nasty=NASTY, port=beside_port, build=build)
    config.write_text(content, encoding="utf-8")
    return Stage(data, config, folder / "up.log", free_port(), beside_port)
