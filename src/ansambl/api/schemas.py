"""The documents of the admin API. Scripts depend on their keys: add, never rename."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class SpeedDocument(BaseModel):
    """How fast an engine is by its own count, in tokens a second; null where it does not say."""

    decode: float | None = None
    prefill: float | None = None


class InstanceDocument(BaseModel):
    """One instance. Times are seconds since the epoch, sizes bytes.

    `residency` says where it stands for the scheduler: out, loading, in, draining, leaving or asleep; it drains and
    leaves to make room for the model `wanted`. `reserved` is memory by device, as measured where `measured` says so,
    else as forecast. `cached_share` is the part of all prompt tokens since the engine's start that were found in its
    cache, `kv_cache_share` the part of its KV cache that is in use.
    """

    model: str
    engine: str
    state: str
    address: str | None = None
    pid: int | None = None
    attached: bool = False
    adopted: bool = False
    context: int | None = None
    parallel: int | None = None
    running: int = 0
    waiting: int = 0
    restarts: int = 0
    started: float | None = None
    load_seconds: float | None = None
    memory: int | None = None
    message: str | None = None
    server: str | None = None
    rests_at: float | None = None
    loras: list[str] = []
    residency: str | None = None
    wanted: str | None = None
    reserved: dict[str, int] = {}
    parts: dict[str, dict[str, int]] = Field(
        {},
        description="What is reserved by device and part: weights, kv_cache, compute, overhead. Their sum is what is "
        "reserved there; a device whose parts nobody knows is left out.",
    )
    measured: bool = False
    waiting_by_class: dict[str, int] = {}
    speed: SpeedDocument = SpeedDocument()
    output_tokens: int | None = None
    cached_share: float | None = None
    kv_cache_share: float | None = None
    swaps: int = Field(0, description="Loads since the start for which another instance had to rest.")
    sleep_levels: list[int] = Field(
        [], description="At which levels its engine can sleep, the usual one first; empty where it cannot."
    )
    pinned: bool = Field(False, description="It stays in memory whatever others want.")
    pinned_by: Literal["configuration", "hand"] | None = Field(
        None, description="What says so: the configuration, or a pin by hand, which lasts until the next start."
    )


class DeviceDocument(BaseModel):
    """The memory of one device in bytes: what models may use, what is reserved for them, what others hold of it."""

    device: str
    capacity: int
    reserved: int
    foreign: int


class LorasDocument(BaseModel):
    """The LoRA adapters in use, by model.

    `models` says when each model's are: "now", "restart" (as soon as nobody uses its engine), "start" (it is off).
    """

    models: dict[str, str]
    loras: dict[str, list[str]]


class RoleDocument(BaseModel):
    """One role. `model` is the one it runs on now."""

    name: str
    description: str
    instruction: str
    model: str
    layout: str
    aliases: list[str]
    origin: str
    sampling: dict[str, Any]
    output_limit: int | None = None


class EnsembleDocument(BaseModel):
    """One ensemble."""

    name: str
    description: str
    pattern: str
    roles: list[str]
    conductor: str
    aliases: list[str]
    origin: str


class EventDocument(BaseModel):
    """Something that happened to an instance."""

    time: float
    model: str
    kind: str
    message: str


class RequestsDocument(BaseModel):
    """Requests since the start."""

    answered: int = 0
    failed: int = 0
    running: int = 0


class KnowledgeStateDocument(BaseModel):
    """How much knowledge there is. `pending` passages have no vector of `model` yet; "" is no model."""

    documents: int
    passages: int
    pending: int
    model: str
    index: str


class CompanionDocument(BaseModel):
    """A program of others that Ansambl started beside itself."""

    name: str = Field(description="Stable, for scripts: open-webui.")
    title: str
    state: str = Field(description="installing, starting, ready, restarting, failed or stopped.")
    address: str = Field(description="Where a browser opens it.")
    version: str
    build: str = Field(description="full or slim.")
    pid: int | None = None
    restarts: int = Field(default=0, description="How often it ended by itself and was started again.")
    sign_in: bool = Field(default=False, description="Whether people sign in there.")
    message: str | None = Field(default=None, description="How far it is, or what is wrong.")


class StateDocument(BaseModel):
    """What Ansambl is doing now."""

    version: str
    pid: int
    started: float
    address: str
    default_model: str
    instances: list[InstanceDocument]
    roles: list[RoleDocument]
    ensembles: list[EnsembleDocument]
    events: list[EventDocument] = Field(description="The newest last.")
    requests: RequestsDocument
    devices: list[DeviceDocument] = []
    companions: list[CompanionDocument] = Field(default=[], description="Programs that run beside Ansambl.")
    knowledge: KnowledgeStateDocument | None = Field(
        default=None, description="As it was within the last minute; null where there is none."
    )


class LogDocument(BaseModel):
    """The newest lines of a log, oldest first."""

    lines: list[str]


class ExplainDocument(BaseModel):
    """What a request would be turned into. More keys say it: for a role its messages, for an ensemble its roles."""

    reasons: list[str]


class StoppingDocument(BaseModel):
    """The answer to a stop."""

    stopping: bool = True


class EntryDocument(BaseModel):
    """One role or ensemble with where it comes from.

    `origin` is ``shipped``, ``configuration`` or ``saved``. `fields` is what is in effect, and `origins` says of each
    key where it was set: ``shipped``, ``saved``, or a file and its line. `saved` is what was saved, without what it
    stands on, and `version` its number; both are None where nothing is saved. `hidden` says why what is saved is not in
    effect.
    """

    kind: str
    name: str
    description: str = ""
    origin: str
    aliases: list[str] = []
    read_only: bool = Field(False, description="It stands in the configuration file and is changed there.")
    version: int | None = None
    hidden: str | None = None
    fields: dict[str, Any] = {}
    origins: dict[str, str] = {}
    saved: dict[str, Any] | None = None
    model: str | None = Field(None, description="The model that a role runs on now.")
    layout: str | None = None
    prefix_group: int | None = Field(None, description="Roles with the same number share their prefix.")
    not_shared: str | None = Field(None, description="Why a role shares its prefix with no other one.")
    shipped: dict[str, Any] = Field({}, description="What comes with Ansambl under this name, as fields.")


class PrefixGroupDocument(BaseModel):
    """Roles of one model and whether they share what is read before their notes, with the reason.

    `number` is the `prefix_group` of its roles. `model` is None where there is no model for them; `head` names what
    sets the group apart at the head of the prompt; `lora` is the LoRA adapter that sets it apart.
    """

    number: int
    model: str | None = None
    roles: list[str]
    shares: bool
    reason: str | None = None
    head: list[str] = []
    lora: str | None = None


class TakenOutDocument(BaseModel):
    """Something saved that was removed: its versions are kept and can be restored. `time` is when it was removed."""

    name: str
    version: int
    time: float


class EntriesDocument(BaseModel):
    """Roles or ensembles, those that are in effect first, then those that are hidden.

    `prefix_groups` are those of the roles; an ensemble is in none. `removed` is what was saved and taken out of use.
    """

    entries: list[EntryDocument]
    prefix_groups: list[PrefixGroupDocument] = []
    removed: list[TakenOutDocument] = []


class VersionDocument(BaseModel):
    """One version of something saved. `changed` names the keys that differ from the version before."""

    number: int
    time: float
    action: str
    changed: list[str]
    fields: dict[str, Any]


class VersionsDocument(BaseModel):
    """Every version, the oldest first."""

    versions: list[VersionDocument]


class SetDocument(BaseModel):
    """A set of roles and ensembles, as the tables of a configuration file."""

    roles: dict[str, dict[str, Any]] = {}
    ensembles: dict[str, dict[str, Any]] = {}


class ImportedDocument(BaseModel):
    """What an import did, or would do when it was a dry run."""

    dry_run: bool
    created: list[str]
    changed: list[str]
    unchanged: list[str]


class ReloadedDocument(BaseModel):
    """The answer to a reload: the roles, ensembles and models that are in effect now, and what their owner should know.

    `added`, `changed` and `removed` name models. A changed one is started anew when its answers have ended, a removed
    one then ends.
    """

    roles: list[str]
    ensembles: list[str]
    warnings: list[str]
    models: list[str] = []
    added: list[str] = []
    changed: list[str] = []
    removed: list[str] = []


class SaveRequest(BaseModel, extra="forbid", strict=True):
    """The keys of a role or ensemble, as a configuration file names them."""

    fields: dict[str, Any]
    base_version: int | None = Field(
        None, ge=0, description="The version that they were made from; 0: none may exist yet."
    )


class RestoreRequest(BaseModel, extra="forbid", strict=True):
    """The version that is to be in effect again."""

    version: int = Field(ge=1)
    base_version: int | None = Field(None, ge=0)


class TrialRequest(BaseModel, extra="forbid", strict=True):
    """What is to be tried: keys that nobody saved, or the number of a version."""

    fields: dict[str, Any] | None = None
    version: int | None = Field(None, ge=1)


class TrialDocument(BaseModel):
    """A trial: a name that chat requests of the same key may ask for until `ends`, in seconds since the epoch.

    `shown` is what logs, counters and the list of requests call it.
    """

    model: str
    shown: str
    ends: float


class RenameRequest(BaseModel, extra="forbid", strict=True):
    """The new name."""

    name: str
    base_version: int | None = Field(None, ge=0)


class ExportRequest(BaseModel, extra="forbid", strict=True):
    """What to export; left out: all that is saved or in the configuration file."""

    names: list[str] | None = None


class ImportRequest(BaseModel, extra="forbid", strict=True):
    """A set to import: all of it, or nothing when something of it cannot be used."""

    document: dict[str, Any]
    dry_run: bool = False
