"""The documents of engines that are installed and removed. Scripts depend on their keys: add, never rename."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

EngineName = Annotated[str, Field(min_length=1, max_length=60, description="vllm, sglang, transformers or llama.cpp.")]
Way = Literal["wheels", "archive", "source"]


class InstallRequest(BaseModel, extra="forbid", strict=True):
    """Which engine, and which build of it."""

    engine: EngineName
    build: Annotated[str, Field(min_length=1, max_length=20)] | None = Field(
        None, description="cuda, rocm, vulkan, metal or cpu; what fits this machine when left out."
    )
    compile: bool = Field(False, description="Compile it here instead of fetching what was compiled elsewhere.")


class BuildDocument(BaseModel):
    """A build for this kind of machine. `reason` says what keeps this machine from using it, null where it can.

    `variant` tells two builds for the same from each other; of those the first one that can be used is installed.
    """

    build: str
    variant: str | None
    version: str
    way: Way
    download: int | None
    size: int
    reason: str | None
    how_to_fix: str | None


class InstallOfferDocument(BaseModel):
    """What an installation would be; sizes are bytes.

    `download` is what is fetched (null: not known), `size` what lies in `folder` afterwards, `here` what an earlier try
    has left there, `free` the disk's. `notes` are what people should read first: whoever installs it agrees. `refusal`
    says why it cannot begin now. `builds` are all builds for this kind of machine, the better one first.
    """

    engine: str
    title: str
    version: str
    build: str
    way: Way
    licence: str
    folder: str
    download: int | None
    size: int
    here: int
    free: int
    installed: bool
    replaces: str | None = Field(description="The version that is installed now and goes when the new one is whole.")
    verified: str | None = Field(description="Where Ansambl's makers tried this build; null: nowhere.")
    notes: list[str]
    refusal: str | None
    builds: list[BuildDocument]


class InstallDocument(BaseModel):
    """One installation or removal; times are seconds since the epoch. `state`: waiting, running, done, stopped, failed.

    Of what was only begun `version` and `build` are empty when it is removed. `stage` is what is being done, `done` of
    `total` of what `counts` says; `total` is 0 where nobody knows.
    """

    id: str
    kind: Literal["install", "remove"]
    engine: str
    title: str
    version: str
    build: str
    compiled: bool
    state: str
    created: float
    started: float | None
    ended: float | None
    download: int | None
    stage: str | None
    done: int
    total: int
    counts: Literal["packages", "bytes", "steps"]
    path: str | None
    error: str | None


class InstallsDocument(BaseModel):
    """Installations and removals since the start, the newest first."""

    installs: list[InstallDocument]
