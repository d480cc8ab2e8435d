"""Every engine that Ansambl knows: what of it is on this machine, what could be installed, and who uses it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.configuration.settings_records import engine_name
from ansambl.app.engine_choice import EngineFinder
from ansambl.domain.engine import EngineTraits, Installed, NotUsable
from ansambl.domain.errors import NotSupportedError, UsageError
from ansambl.domain.hardware import Machine
from ansambl.domain.names import nearest_names
from ansambl.domain.text import Text, text
from ansambl.domain.units import Bytes
from ansambl.domain.versions import version_key
from ansambl.engines.adapter import AttachOnly
from ansambl.engines.install.choice import choose_build, judge_builds
from ansambl.engines.install.data import installable_engines, known_builds
from ansambl.engines.install.folders import is_being_installed
from ansambl.engines.install.programs import look_around
from ansambl.engines.install.records import Around, Build, Choice, Judged, Refusal
from ansambl.engines.installations import InstallManifest, engine_folder, manifest_to_json, read_install_manifest
from ansambl.engines.registry import ENGINES, SAME_ENGINE, get_engine
from ansambl.foundation.paths import DataPaths


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """One engine: `state` is what was found of it here, `available` the build that would be installed here now.

    `manifest` is what Ansambl installed of it, `begun` that an installation was broken off. `models` are those of the
    configuration that name it or that it would run by itself.
    """

    name: str
    traits: EngineTraits
    state: Installed | NotUsable
    attach_only: bool
    manifest: InstallManifest | None
    begun: bool
    available: Choice | Refusal | None
    models: tuple[str, ...]

    @property
    def is_older(self) -> bool:
        """Whether Ansambl installed an older version of the build than it would now."""
        if self.manifest is None or not isinstance(self.available, Choice):
            return False
        if self.manifest.build != self.available.build.build:
            return False
        mine, pinned = _key(self.name, self.manifest.version), _key(self.name, self.available.build.version)
        return mine is not None and pinned is not None and mine < pinned

    @property
    def size(self) -> Bytes | None:
        """The bytes on the disk of what Ansambl installed."""
        return Bytes(self.manifest.size) if self.manifest is not None else None


class EngineBook:
    """The engines of this machine.

    Args:
        loaded: the configuration.
        paths: where Ansambl installs engines.
        finder: looks for engines; made from the two when left out.
        around: looks for Pythons and compilers.
    """

    def __init__(
        self, loaded: LoadedSettings, paths: DataPaths, finder: EngineFinder | None = None,
        around: Callable[[], Around] = look_around,
    ) -> None:  # fmt: skip
        self._loaded = loaded
        self._paths = paths
        self._finder = finder or EngineFinder(loaded, paths)
        self._look = around

    @property
    def machine(self) -> Machine:
        """This machine's hardware."""
        return self._finder.machine

    @cached_property
    def _around(self) -> Around:
        """The Pythons and compilers, looked for once: several questions come together."""
        return self._look()

    def entries(self) -> list[EngineEntry]:
        """Every registered engine, in the registry's order. Starts none and imports none."""
        return [self._entry(name) for name in ENGINES]

    def _entry(self, name: str) -> EngineEntry:
        adapter = get_engine(name)
        folder = engine_folder(self._paths.engines, name)
        manifest = read_install_manifest(folder)
        installable = name in installable_engines()
        return EngineEntry(
            name=name, traits=adapter.traits, state=self._finder.find(name),
            attach_only=isinstance(adapter, AttachOnly) and adapter.attach_only, manifest=manifest,
            begun=manifest is None and folder.is_dir() and not is_being_installed(self._paths.engines, name),
            available=choose_build(name, self.machine, known_builds(), self._around) if installable else None,
            models=self._models(name),
        )  # fmt: skip

    def _models(self, name: str) -> tuple[str, ...]:
        return tuple(model for model, one in self._loaded.settings.models.items() if engine_name(one) == name)

    def choose(self, name: str, *, wanted: str | None = None, compiled: bool = False) -> Choice:
        """The build of the engine `name` for this machine.

        Raises:
            UsageError: there is no such engine to install.
            NotSupportedError: none of its builds runs here; says why and what would change it.
        """
        engine = installable_name(name)
        found = choose_build(engine, self.machine, known_builds(), self._around, wanted=wanted, compiled=compiled)
        if isinstance(found, Refusal):
            raise NotSupportedError(text("{reason}; {fix}", reason=found.why.reason, fix=found.why.how_to_fix))
        return found

    def judged(self, engine: str) -> tuple[Judged, ...]:
        """The builds of an engine for this kind of machine, and what keeps it from using each; none of no such one."""
        return judge_builds(engine, self.machine, known_builds(), self._around)


def installable_name(name: str) -> str:
    """The name under which an engine is installed.

    Raises:
        UsageError: Ansambl installs no such engine.
    """
    wanted = name.strip().lower()
    wanted = SAME_ENGINE.get(wanted, wanted)
    known = installable_engines()
    if wanted in known:
        return wanted
    near = nearest_names(wanted, known)
    if wanted in ENGINES:
        raise UsageError(
            text("{engine} is not installed by Ansambl: install it as its makers say; what Ansambl installs: {known}",
                 engine=get_engine(wanted).traits.title, known=", ".join(known))
        )  # fmt: skip
    raise UsageError(
        text("there is no engine '{name}' to install; what Ansambl installs: {known}", name=name[:40],
             known=", ".join(near or known))
    )  # fmt: skip


def _key(engine: str, version: str) -> Any:
    try:
        return version_key(version, builds=engine.startswith("llama.cpp"))
    except ValueError:
        return None


def entries_to_json(entries: Sequence[EngineEntry], translate: Callable[[str], str]) -> dict[str, Any]:
    """The engines as ``engines list --json`` prints them."""
    return {"engines": [_entry_to_json(one, translate) for one in entries]}


def _entry_to_json(entry: EngineEntry, translate: Callable[[str], str]) -> dict[str, Any]:
    state, manifest, available = entry.state, entry.manifest, entry.available

    def words(one: Text | None) -> str | None:
        return one.render(translate) if one is not None else None

    found = state if isinstance(state, Installed) else None
    why = state if isinstance(state, NotUsable) else None
    build = available.build if isinstance(available, Choice) else None
    refused = available.why if isinstance(available, Refusal) else None
    return {
        "name": entry.name, "title": entry.traits.title, "usable": found is not None,
        "version": found.version if found else None, "build": found.build if found else None,
        "path": found.path if found else None, "managed": bool(found and found.managed),
        "warning": words(found.warning) if found else None, "reason": words(why.reason) if why else None,
        "how_to_fix": words(why.how_to_fix) if why else None, "attach_only": entry.attach_only,
        "formats": sorted(entry.traits.formats), "verified": entry.traits.verified or None,
        "documented": entry.traits.documented or None, "models": list(entry.models),
        "installed_by_ansambl": manifest_to_json(manifest) if manifest else None, "begun": entry.begun,
        "installable": available is not None, "available": build_to_json(build) if build else None,
        "not_available_because": words(refused.reason) if refused else None, "newer_available": entry.is_older,
    }  # fmt: skip


def build_to_json(build: Build) -> dict[str, Any]:
    """A build as the commands' JSON shows it."""
    return {
        "version": build.version, "build": build.build, "way": str(build.way), "download_bytes": build.download,
        "size_bytes": build.size, "licence": build.licence, "verified": build.verified or None,
        "sources": list(build.sources),
    }  # fmt: skip
