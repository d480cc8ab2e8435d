"""Checks everything that Ansambl needs on this machine, and says what to do about what is wrong."""

from __future__ import annotations

import asyncio
import locale
import os
import platform
import shutil
import socket
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from ansambl.app.catalog import catalog_of
from ansambl.app.check import Check, Level
from ansambl.app.configuration.configuration_file import load_data_paths, shown_path
from ansambl.app.configuration.knowledge_settings import NONE as NO_MODEL
from ansambl.app.configuration.settings import EMBEDDED
from ansambl.app.configuration.settings_file import LoadedSettings, load_settings
from ansambl.app.configuration.settings_records import attachments
from ansambl.app.data_folder import MIGRATIONS
from ansambl.app.data_removal import KNOWLEDGE_FILE
from ansambl.app.engine_checks import check_start
from ansambl.app.engine_choice import EngineFinder, place
from ansambl.app.footprints import Footprints
from ansambl.app.logging_warnings import logging_warnings
from ansambl.app.model_memory import device_title, devices_of
from ansambl.app.open_webui_checks import open_webui_checks
from ansambl.app.plan_checks import check_plan, misfits
from ansambl.app.running_state import read_state
from ansambl.app.tls import Certificate, CertificateFiles
from ansambl.domain.errors import AnsamblError
from ansambl.domain.hardware import Machine
from ansambl.domain.model import Checkpoint
from ansambl.domain.plan import Placement
from ansambl.domain.text import text
from ansambl.domain.units import GIB, MIB, Bytes, format_bytes
from ansambl.engines.registry import get_engine
from ansambl.foundation import network
from ansambl.foundation.paths import DataPaths, default_data_folder
from ansambl.foundation.sqlite import load_migrations
from ansambl.hardware import inventory
from ansambl.model_catalog.checkpoints import open_checkpoint
from ansambl.runtime.events import EventLog

_LEAST_FREE_DISK = 500 * MIB
_LEAST_FREE_RAM = GIB // 2
_OLDEST_PYTHON = (3, 11)


def examine(chosen: Path | None = None) -> list[Check]:
    """Check this machine, the data folder and the configuration. Changes nothing and never raises for what is wrong."""
    checks = [_python()]
    loaded: LoadedSettings | None = None
    try:
        paths = load_data_paths(chosen)
        loaded = load_settings(chosen)
        attachments(loaded)
        catalog_of(loaded)
    except AnsamblError as error:
        checks.append(Check("configuration", Level.PROBLEM, error.message, text("mend the file and run this again")))
        # A file that cannot even be parsed cannot name the data folder.
        paths = loaded.paths if loaded is not None else DataPaths(default_data_folder())
    else:
        checks.append(_configuration(loaded))
    checks += [_folder(paths), _disk(paths), _database(paths), _running(paths), *_leftovers(paths)]
    machine = inventory.detect(folders=[paths.root])
    checks.append(_memory(machine))
    if loaded is not None:
        checks += _models(loaded, paths, machine)
        checks += asyncio.run(_plan(loaded, paths, machine))
        checks += _conversations(loaded, paths)
        checks += _knowledge(loaded, paths)
        checks.append(_port(loaded, paths))
        checks += open_webui_checks(loaded, paths)
        checks += _certificate(loaded)
        checks += _contents(loaded, paths)
    checks.append(_language())
    return checks


def _python() -> Check:
    version = platform.python_version()
    if sys.version_info[:2] < _OLDEST_PYTHON:
        return Check("python", Level.PROBLEM, text("Python {version} is too old", version=version),
                     text("install Python 3.11 or newer"))  # fmt: skip
    return Check("python", Level.OK, text("Python {version}", version=version))


def _configuration(loaded: LoadedSettings) -> Check:
    if loaded.file is None:
        return Check("configuration", Level.OK, text("No configuration file; everything has a default"))
    return Check("configuration", Level.OK, text("The configuration {file} is valid", file=shown_path(loaded.file)))


def _folder(paths: DataPaths) -> Check:
    existing = next(one for one in (paths.root, *paths.root.parents) if one.exists())
    fix = text("give yourself write permission, or name another folder in ANSAMBL_DATA")
    if not existing.is_dir():
        return Check("data_folder", Level.PROBLEM, text("{path} is not a folder", path=existing), fix)
    if not os.access(existing, os.W_OK | os.X_OK):
        return Check("data_folder", Level.PROBLEM, text("The data folder {folder} cannot be written",
                                                        folder=paths.root), fix)  # fmt: skip
    return Check("data_folder", Level.OK, text("The data folder {folder} can be written", folder=paths.root))


def _disk(paths: DataPaths) -> Check:
    existing = next(one for one in (paths.root, *paths.root.parents) if one.exists())
    free = shutil.disk_usage(existing).free
    message = text("{size} free on the data folder's disk", size=format_bytes(free))
    if free < _LEAST_FREE_DISK:
        return Check("disk", Level.WARNING, message, text("free some space; models need it"))
    return Check("disk", Level.OK, message)


def _quick_check(file: Path) -> tuple[str, int]:
    """What SQLite says of a database, "ok" where it is whole, and its schema's number."""
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
            schema = int(database.execute("PRAGMA user_version").fetchone()[0])
            return str(database.execute("PRAGMA quick_check").fetchone()[0]), schema
    except sqlite3.Error as error:
        return str(error), 0


def _database(paths: DataPaths) -> Check:
    if not paths.database.exists():
        return Check("database", Level.OK, text("No database yet; the first start makes it"))
    state, schema = _quick_check(paths.database)
    if state != "ok":
        return Check("database", Level.PROBLEM, text("The database is damaged ({reason})", reason=state),
                     text("put back a copy from {folder}, or move {file} away", folder=paths.backups,
                          file=paths.database))  # fmt: skip
    newest = len(load_migrations(MIGRATIONS))
    if schema > newest:
        return Check("database", Level.PROBLEM, text("The database was written by a newer Ansambl"),
                     text("update Ansambl, or name another folder in ANSAMBL_DATA"))  # fmt: skip
    return Check("database", Level.OK, text("The database is whole (schema {schema})", schema=schema))


def _running(paths: DataPaths) -> Check:
    state = read_state(paths)
    if state is None:
        return Check("running", Level.OK, text("Ansambl is not running"))
    return Check("running", Level.OK, text("Ansambl runs at {address} (process {pid})", address=state.address,
                                           pid=state.pid))  # fmt: skip


def _leftovers(paths: DataPaths) -> list[Check]:
    """Engines that a crashed Ansambl left running, as its state file without its process tells."""
    if read_state(paths) is not None or not paths.state.exists():
        return []
    return [
        Check("leftovers", Level.WARNING, text("Ansambl ended without stopping; engines of it may still run"),
              text("the next start adopts or ends them; to end them now: ansambl down"))
    ]  # fmt: skip


def _memory(machine: Machine) -> Check:
    memory = machine.memory
    message = text("{available} of {total} RAM available", available=format_bytes(memory.available),
                   total=format_bytes(memory.usable))  # fmt: skip
    if memory.available < _LEAST_FREE_RAM:
        return Check("memory", Level.WARNING, message, text("close other programs; a model needs at least 0.5 GiB"))
    return Check("memory", Level.OK, message)


def _models(loaded: LoadedSettings, paths: DataPaths, machine: Machine) -> list[Check]:
    checks = []
    finder = EngineFinder(loaded, paths, lambda: machine)
    for name, model in loaded.settings.models.items():
        if model.address is not None:
            checks.append(_address(name, model.address))
            continue
        checkpoint: Checkpoint | None = None
        if model.checkpoint is not None:
            checkpoint, told = _checkpoint(name, model.checkpoint, paths)
            checks.append(told)
        checks += _engine(name, checkpoint, loaded, finder, running=read_state(paths) is not None)
    return checks


def _engine(
    name: str, checkpoint: Checkpoint | None, loaded: LoadedSettings, finder: EngineFinder, *, running: bool
) -> list[Check]:
    """Whether the engine of a model is here, and what is known against starting the model with it.

    While Ansambl is `running` its own engines hold memory, so what is free tells nothing.
    """
    try:
        chosen = finder.choose(name, checkpoint)
    except AnsamblError as error:
        return [Check(f"engine:{name}", Level.PROBLEM, error.message)]
    traits, version = get_engine(chosen.name).traits, chosen.installed.version
    usable = Check(f"engine:{name}", Level.OK, text("The engine of '{name}' is usable: {engine} {version}", name=name,
                                                   engine=chosen.name, version=version))  # fmt: skip
    if checkpoint is None:
        return [usable]
    try:
        placed = place(loaded, name, checkpoint, finder)
        warnings = check_start(placed, traits, chosen.installed, finder.machine, memory=not running)
        # Settings that the engine does not have, or that contradict each other, are refused where its command is made.
        get_engine(chosen.name).launch_spec(placed, port=0, secret="")
    except AnsamblError as error:
        return [usable, Check(f"start:{name}", Level.PROBLEM, error.message)]
    if not warnings:
        return [usable, Check(f"start:{name}", Level.OK, text("Nothing is known that keeps '{name}' from starting",
                                                             name=name))]  # fmt: skip
    return [usable, *(Check(f"start:{name}", Level.WARNING, one) for one in warnings)]


def _checkpoint(name: str, reference: str, paths: DataPaths) -> tuple[Checkpoint | None, Check]:
    try:
        found = open_checkpoint(reference, paths.models)
    except AnsamblError as error:
        if reference == EMBEDDED:
            fix = text("'ansambl up' fetches it by itself")
            return None, Check(f"model:{name}", Level.WARNING, error.message, fix)
        return None, Check(f"model:{name}", Level.PROBLEM, error.message)
    message = text("The model '{name}' is here and whole ({size})", name=name, size=format_bytes(found.size))
    return found, Check(f"model:{name}", Level.OK, message)


async def _plan(loaded: LoadedSettings, paths: DataPaths, machine: Machine) -> list[Check]:
    """Whether the models go together with the memory that they may use, and with each other."""
    finder = EngineFinder(loaded, paths, lambda: machine)

    def placed(name: str) -> Placement:
        reference = loaded.settings.models[name].checkpoint
        return place(loaded, name, open_checkpoint(reference, paths.models) if reference else None, finder)

    devices = devices_of(machine, loaded.settings.budget)
    footprints = Footprints(loaded, placed, lambda: machine, lambda: devices, paths.database, EventLog())
    try:
        await check_plan(loaded, footprints)
    except AnsamblError as error:
        return [Check("plan", Level.PROBLEM, error.message)]
    found = [Check("plan", Level.WARNING, one) async for one in misfits(loaded, footprints)]
    listed = ", ".join(f"{format_bytes(size)} ({device_title(one)})" for one, size in devices.capacity.items())
    fine = Check(
        "plan", Level.OK, text("Every model that is here fits into what models may use: {memory}", memory=listed)
    )
    return found or [fine]


def _conversations(loaded: LoadedSettings, paths: DataPaths) -> list[Check]:
    settings = loaded.settings.conversations
    if not settings.persist or not settings.budget:
        return [Check("conversations", Level.OK, text("No conversations are kept on the disk"))]
    existing = next(one for one in (paths.root, *paths.root.parents) if one.exists())
    free = shutil.disk_usage(existing).free
    message = text("Conversations may take {budget} of the disk, of which {free} are free",
                   budget=format_bytes(settings.budget), free=format_bytes(Bytes(free)))  # fmt: skip
    if free < min(settings.budget, _LEAST_FREE_DISK):
        return [Check("conversations", Level.WARNING, message, text("free some space, or lower conversations.budget"))]
    return [Check("conversations", Level.OK, message)]


def _knowledge(loaded: LoadedSettings, paths: DataPaths) -> list[Check]:
    """The database of knowledge, and who gives vectors; nothing where there is no knowledge and none is wanted."""
    # They bring numpy along, which the start of Ansambl does not wait for.
    from ansambl.app.knowledge.choosing import embedder_title
    from ansambl.app.knowledge.opening import index_address
    from ansambl.knowledge.embedders import bundled

    file = paths.knowledge / KNOWLEDGE_FILE
    found: list[Check] = []
    if file.exists():
        state, _ = _quick_check(file)
        if state != "ok":
            found.append(
                Check("knowledge", Level.PROBLEM, text("The database of knowledge is damaged ({reason})", reason=state),
                      text("put back a copy from {folder}, or move {file} away and add everything again",
                           folder=paths.knowledge / "backups", file=file))
            )  # fmt: skip
        else:
            found.append(Check("knowledge", Level.OK, text("The database of knowledge is whole")))
    elif not loaded.settings.knowledge.collections:
        return []
    try:
        index_address(loaded)
        model = embedder_title(loaded, paths)
    except AnsamblError as error:
        return [*found, Check("knowledge_model", Level.PROBLEM, error.message)]
    if model is None:
        fix = None if loaded.settings.knowledge.embedder == NO_MODEL else bundled.missing()
        level = Level.OK if fix is None else Level.WARNING
        return [*found, Check("knowledge_model", level, text("Texts are found by their words alone"), fix)]
    return [*found, Check("knowledge_model", Level.OK, text("Texts get their vectors from {model}", model=model))]


def _address(name: str, address: str) -> Check:
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=3).close()
    except OSError as error:
        return Check(f"model:{name}", Level.WARNING,
                     text("Nothing answers for '{name}' at {address} ({reason})", name=name, address=address,
                          reason=error.strerror or error), text("start it there, or correct the address"))  # fmt: skip
    return Check(f"model:{name}", Level.OK, text("Something answers for '{name}' at {address}", name=name,
                                                 address=address))  # fmt: skip


def _port(loaded: LoadedSettings, paths: DataPaths) -> Check:
    host, port = loaded.settings.gateway.host, loaded.settings.gateway.port
    state = read_state(paths)
    if state is not None:
        # Wherever it was started with --port: it has what it needs.
        return Check("port", Level.OK, text("Port {port} is ours", port=state.port))
    try:
        network.bound_socket(host, port).close()
    except OSError as error:
        owner = network.port_owner(port)
        who = text("{program}, process {pid}", program=owner[1], pid=owner[0]) if owner else error.strerror
        return Check("port", Level.PROBLEM, text("{host} port {port} cannot be used ({reason})", host=host,
                     port=port, reason=who), text("stop what uses it, or choose another with --port"))  # fmt: skip
    return Check("port", Level.OK, text("Port {port} is free", port=port))


def _certificate(loaded: LoadedSettings) -> list[Check]:
    files = CertificateFiles.of(loaded.settings.gateway)
    if files is None:
        return []
    try:
        certificate = Certificate(files)
    except AnsamblError as error:
        return [Check("certificate", Level.PROBLEM, error.message, text("mend the files, and run this again"))]
    warnings = certificate.warnings()
    if warnings:
        return [Check("certificate", Level.WARNING, one) for one in warnings]
    until = certificate.valid_until()
    day = "?" if until is None else time.strftime("%Y-%m-%d", time.gmtime(until))
    fine = text("The certificate {file} is good until {day}", file=files.certificate, day=day)
    return [Check("certificate", Level.OK, fine)]


def _contents(loaded: LoadedSettings, paths: DataPaths) -> list[Check]:
    return [
        Check("log_contents", Level.WARNING, one, text("when you are done, set log_contents = false under [gateway]"))
        for one in logging_warnings(loaded.settings.gateway, paths)
    ]


def _language() -> Check:
    encoding = locale.getpreferredencoding(False)
    if encoding.casefold().replace("-", "") != "utf8":
        return Check("locale", Level.WARNING, text("The terminal's encoding is {encoding}", encoding=encoding),
                     text("set LANG to a UTF-8 locale, for example C.UTF-8"))  # fmt: skip
    return Check("locale", Level.OK, text("The terminal's encoding is UTF-8"))
