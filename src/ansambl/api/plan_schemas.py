"""The documents of choosing and applying a plan: machines, models, and what putting one into effect does."""

from __future__ import annotations

from pydantic import BaseModel, Field


class MachineDeviceDocument(BaseModel):
    """One device of a machine; bytes."""

    kind: str
    title: str
    memory: int


class MachineDocument(BaseModel):
    """A machine that one can plan for. `name` is what questions call it."""

    name: str
    title: str
    devices: list[MachineDeviceDocument]
    notes: list[str]


class DeviceModelDocument(BaseModel):
    """A GPU or a processor that a described machine may have; `memory` is bytes as sold, null where that varies."""

    name: str
    title: str
    vendor: str
    memory: int | None


class MachinesDocument(BaseModel):
    """Machines and devices to plan with."""

    this: MachineDocument = Field(description="This machine, under the name `this`.")
    machines: list[MachineDocument]
    gpus: list[DeviceModelDocument]
    processors: list[DeviceModelDocument]


class CatalogCheckpointDocument(BaseModel):
    """One quantization; `basis` tells whether a source reports the size or it is derived."""

    quantization: str
    format: str
    bytes: int
    basis: str


class CatalogModelDocument(BaseModel):
    """A model that a question may name by `name`. What no source says is null."""

    name: str
    repo: str
    title: str
    family: str
    kind: str
    licence: str | None
    parameters: int | None
    active_parameters: int | None
    context: int | None
    released: str | None
    specialities: list[str]
    checkpoints: list[CatalogCheckpointDocument]
    configured: bool = Field(False, description="Whether it is a model of the configuration, under this name.")


class CatalogDocument(BaseModel):
    """The models of the configuration that can be planned with, then those of the shipped catalog."""

    models: list[CatalogModelDocument]


class FetchingDocument(BaseModel):
    """One checkpoint of a plan. `accept` is the licence to accept before it is fetched, null for none."""

    model: str
    title: str
    reference: str
    bytes: int
    licence: str | None
    here: bool
    accept: str | None


class PreviewDocument(BaseModel):
    """What putting an option into effect would do. `problem` says why it cannot be done here, null where it can.

    `text` is the tables for a configuration, to copy where it is another machine's. The rest is empty then.
    """

    option: str
    title: str
    problem: str | None
    text: str
    agreed: str | None = Field(description="Tells this change from any other; give it back to apply just this.")
    fetches: list[FetchingDocument] = []
    bytes_to_fetch: int = 0
    free_bytes: int | None = None
    folder: str | None = None
    starts: list[str] = Field([], description="Models of the plan, as the configuration will name them.")
    stops: list[str] = Field([], description="Models that go out of use.")
    replaces: list[str] = Field([], description="Models of the file whose tables become comments.")
    keeps: list[str] = Field([], description="Models that stay beside the plan's.")
    file: str | None = None
    creates: bool = False


class ApplyingDocument(BaseModel):
    """A plan that is being put into effect, or was. Times are seconds since the epoch."""

    id: str
    title: str
    state: str = Field(description="fetching, applying, done, failed or stopped.")
    done: int = Field(description="Bytes that have arrived.")
    size: int = Field(description="Bytes to fetch.")
    file: str
    backup: str | None
    error: str | None
    warnings: list[str]
    started: float
    ended: float | None


class ApplyingStateDocument(BaseModel):
    """The newest one of this run."""

    applying: ApplyingDocument | None
