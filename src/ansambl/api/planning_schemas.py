"""The documents of questions to the planner and the simulation. Their answers are those of the commands' ``--json``.

Answers may hold more keys than are written here; scripts depend on those that are: add, never rename.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, JsonValue
from pydantic_core import PydanticCustomError

from ansambl.api.findings import SIZE_TOO_LARGE, SIZE_TOO_SMALL

Name = Annotated[str, Field(min_length=1, max_length=200)]
Context = Annotated[int, Field(ge=1, le=100_000_000)]
Parallel = Annotated[int, Field(ge=1, le=100_000)]

MACHINE = "A machine of `ansambl machines list`, or `this`; left out: this one."
DESCRIBED = f"{MACHINE} Or a description of one."
MODEL = "A model of the configuration or of the catalog, or `embedded`; no path."


LEAST_MEMORY, MOST_MEMORY = 2**26, 2**46
"""Bytes of a device of a machine that is described."""


def _bounded_memory(size: int) -> int:
    # As kinds of our own: who reads that it is too little wants it in units that people use.
    if size < LEAST_MEMORY:
        raise PydanticCustomError(SIZE_TOO_SMALL, "too small", {"least": LEAST_MEMORY})
    if size > MOST_MEMORY:
        raise PydanticCustomError(SIZE_TOO_LARGE, "too large", {"most": MOST_MEMORY})
    return size


Memory = Annotated[
    int,
    AfterValidator(_bounded_memory),
    Field(json_schema_extra={"minimum": LEAST_MEMORY, "maximum": MOST_MEMORY}),
]


class DescribedGpus(BaseModel, extra="forbid", strict=True):
    """GPUs of one kind in a machine that is described."""

    device: Name = Field(description="A GPU of GET /admin/api/machines, for example rtx-4090.")
    count: int = Field(1, ge=1, le=64)
    memory: Memory | None = Field(None, description="Bytes of each, where it differs from what is sold.")


class DescribedMachine(BaseModel, extra="forbid", strict=True):
    """A machine that has no name: its GPUs by their names, and its RAM."""

    name: Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")] = "described"
    gpus: list[DescribedGpus] = Field([], max_length=8)
    ram: Memory = Field(description="Bytes.")
    processor: Name | None = Field(None, description="A processor of GET /admin/api/machines.")


class PlanRequest(BaseModel, extra="forbid", strict=True):
    """What `ansambl plan` is asked; what is left out is left open."""

    machines: list[Name | DescribedMachine] = Field([], max_length=8, description=DESCRIBED)
    goal: Name = Field("balanced", description="What matters most: depth, parallel, balanced or no-swap.")
    models: list[Name] = Field([], max_length=8, description=f"Only these. {MODEL}")
    roles: list[Name] = Field([], max_length=50, description="Only these roles; left out: all.")
    context: Context | None = Field(None, description="Tokens for each sequence.")
    parallel: Parallel = Field(1, description="Sequences at once.")
    language: Name | None = Field(None, description="Weigh the quality in this language, for example ru.")
    helpers: bool = Field(True, description="Plan small models for embeddings and tasks of chats, too.")
    fetchable: bool = Field(False, description="Only checkpoints whose files are here, or lie where a source says.")


class PreviewRequest(PlanRequest, extra="forbid", strict=True):
    """An option of a plan for this machine; the rest is the question that the plan answered."""

    option: Name = Field(description="The option's id.")


class ApplyRequest(PreviewRequest, extra="forbid", strict=True):
    """A plan to put into effect."""

    agreed: Name | None = Field(
        None, description="`agreed` of the preview that the owner saw; what would happen otherwise now is refused."
    )
    accept_licences: list[Name] = Field([], max_length=16, description="Licences that the owner accepts, by name.")


class FitRequest(BaseModel, extra="forbid", strict=True):
    """What `ansambl fit` is asked."""

    model: Name = Field(description=MODEL)
    quantization: Name | None = None
    engine: Name | None = None
    machine: Name | DescribedMachine | None = Field(None, description=DESCRIBED)
    context: Context | None = Field(None, description="Tokens for each sequence.")
    parallel: Parallel = Field(1, description="Sequences at once.")
    kv_type: Name = Field("f16", description="Number format of the KV cache.")
    settings: dict[Name, Annotated[str, Field(max_length=200)]] = Field(
        {}, max_length=50, description="Settings of the engine, as `--set` takes them."
    )


class ReviewRequest(FitRequest, extra="forbid", strict=True):
    """What `ansambl review` is asked."""

    machine: Name | None = Field(None, description=MACHINE)
    ui: Name | None = Field(None, description="The interface in which it will be used, for example open-webui.")
    language: Name | None = Field(None, description="The language in which it will be used, for example ru.")


class CompatRequest(BaseModel, extra="forbid", strict=True):
    """What `ansambl compat` is asked."""

    model: Name | None = Field(None, description=f"{MODEL} Left out: engines and devices alone.")
    machine: Name | None = Field(None, description=MACHINE)
    engine: Name | None = None
    ui: Name | None = None
    settings: dict[Name, Annotated[str, Field(max_length=200)]] = Field({}, max_length=50)


class SimulateRequest(BaseModel, extra="forbid", strict=True):
    """A trace and the policies that are to serve it, by the models of the configuration in effect."""

    trace: str | list[dict[str, JsonValue]] = Field(
        description="The lines of a trace as objects, the newest format of `ansambl simulate`; or the name of a "
        "shipped one: mixed, agents, people."
    )
    machine: Name | None = Field(None, description=MACHINE)
    policies: list[Name] = Field(["ansambl"], min_length=1, max_length=3, description="ansambl, fifo, lru.")


class ReasonDocument(BaseModel):
    """A reason. Its code is stable, its text is in the reader's language."""

    code: str
    text: str
    source: str


class RangeDocument(BaseModel):
    """A forecast."""

    low: float
    expected: float
    high: float


class ForecastSpeedDocument(BaseModel):
    """Tokens a second; null where nothing is known."""

    decode_tokens_per_second: RangeDocument | None
    prefill_tokens_per_second: RangeDocument | None
    batch_tokens_per_second: RangeDocument | None = None
    basis: str | None


class PartsDocument(BaseModel):
    """The expected bytes of a footprint by part."""

    weights: int
    kv_cache: int
    compute: int
    overhead: int


class DeviceFootprintDocument(BaseModel):
    """What one device would hold, in bytes."""

    name: str
    kind: str
    capacity_bytes: int
    usable_bytes: int
    parts: PartsDocument
    low_bytes: int
    expected_bytes: int
    high_bytes: int
    fits: bool


class CheckpointDocument(BaseModel):
    """The checkpoint that was chosen."""

    quantization: str
    format: str
    bytes: int
    source: str


class FitDocument(BaseModel):
    """The answer of `ansambl fit --json`."""

    model: str
    checkpoint: CheckpointDocument
    engine: str
    machine: str
    context: int
    parallel: int
    kv_type: str
    fits: bool
    devices: list[DeviceFootprintDocument]
    kv_capacity_tokens: int
    max_context: int | None
    max_parallel: int | None
    speed: ForecastSpeedDocument
    reasons: list[ReasonDocument]
    instead: list[dict[str, Any]]


class PlacementFootprintDocument(BaseModel):
    """The footprint of a placement."""

    devices: list[DeviceFootprintDocument]
    kv_capacity_tokens: int


class PlacementDocument(BaseModel):
    """One placement of a plan."""

    id: str
    model: str
    quantization: str
    engine: str
    machine: str
    devices: list[str]
    context: int
    parallel: int
    residency: str
    fits: bool
    footprint: PlacementFootprintDocument
    speed: ForecastSpeedDocument
    title: str = Field("", description="The model's name for people.")
    bytes: int | None = None
    licence: str | None = None


class ShareDocument(BaseModel):
    """What one placement takes of a device."""

    placement: str
    expected_bytes: int


class LoadDocument(BaseModel):
    """One device with what lies on it at once."""

    machine: str
    name: str
    kind: str
    index: int
    capacity_bytes: int
    usable_bytes: int
    low_bytes: int
    expected_bytes: int
    high_bytes: int
    fits: bool
    shares: list[ShareDocument]


class PlanOptionDocument(BaseModel):
    """One option of a plan."""

    id: str
    title: str
    fits: bool
    placements: list[PlacementDocument]
    roles: dict[str, str]
    prefix_groups: list[list[str]]
    swaps_expected_per_hour: float | None
    speaks_for: list[ReasonDocument] = Field(alias="for")
    against: list[ReasonDocument]
    loads: list[LoadDocument] = Field([], description="The devices that the option uses.")
    prefilling_roles: list[str] = Field([], description="Roles that share a model and no prefix.")


class PlanDocument(BaseModel):
    """The answer of `ansambl plan --json`. `recommended` is the id of an option, null where nothing fits."""

    machines: list[str]
    goal: str
    recommended: str | None
    why: list[ReasonDocument]
    options: list[PlanOptionDocument]
    rejected: list[ReasonDocument]


class FindingDocument(BaseModel):
    """One finding of a review."""

    level: str
    code: str
    text: str
    source: str


class ReviewDocument(BaseModel):
    """The answer of `ansambl review --json`."""

    model: str
    machine: str
    ui: str | None
    language: str | None
    engine: str | None
    verdict: str
    findings: list[FindingDocument]
    fit: FitDocument | None
    training: list[dict[str, Any]]
    commands: list[str]


class CompatRowDocument(BaseModel):
    """One combination, judged."""

    engine: str
    format: str | None
    quantization: str | None
    device: str | None
    ui: str | None
    verdict: str
    since: str | None
    reasons: list[ReasonDocument]


class CompatDocument(BaseModel):
    """The answer of `ansambl compat --json`."""

    model: str | None
    machine: str
    rows: list[CompatRowDocument]


class SimulationDocument(BaseModel):
    """What became of the trace under one policy, as `ansambl simulate --json` prints it."""

    policy: str
    requests: int
    answered: int
    expired: int
    swaps: int
    swaps_by_background: int
    wait_seconds: dict[str, dict[str, float | None]]
    output_tokens_per_second: float
    idle_share: float
    refused: dict[str, int]


class SimulationsDocument(BaseModel):
    """One answer for each policy, in the order in which they were named."""

    policies: list[SimulationDocument]
