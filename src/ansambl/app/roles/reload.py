"""What of a changed configuration file can be applied to a running Ansambl: its roles, ensembles and prompt. Pure."""

from __future__ import annotations

from dataclasses import replace

from ansambl.app.configuration.role_settings import RoleSettings
from ansambl.app.configuration.settings import Settings
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.domain.errors import ConfigurationError
from ansambl.domain.text import text

RELOADED = ("roles", "ensembles", "prompt")
"""The tables that a reload applies; the others need a restart."""


def needing_restart(before: Settings, after: Settings) -> tuple[str, ...]:
    """The tables that differ and that a reload cannot apply."""
    return tuple(
        name for name in Settings.model_fields if name not in RELOADED and getattr(before, name) != getattr(after, name)
    )


def with_reloaded_roles(before: LoadedSettings, after: LoadedSettings, running: LoadedSettings) -> LoadedSettings:
    """The running settings with the roles, ensembles and prompt of `after`.

    `before` is the file as it was when `running` was made of it. A role's model that `running` has on top of it was
    planned, and stays where the file names none now.

    Raises:
        ConfigurationError: another table changed too, so that nothing is applied.
    """
    changed = needing_restart(before.settings, after.settings)
    if changed:
        tables = ", ".join(f"[{one}]" for one in changed)
        raise ConfigurationError(
            text("A restart is needed, because {tables} changed too; nothing of the file was applied.", tables=tables)
        )
    roles = dict(after.settings.roles)
    for name, one in running.settings.roles.items():
        was, now = before.settings.roles.get(name), roles.get(name, RoleSettings())
        if one.model is not None and (was is None or was.model is None) and now.model is None:
            roles[name] = now.model_copy(update={"model": one.model})
    settings = running.settings.model_copy(
        update={"roles": roles, "ensembles": after.settings.ensembles, "prompt": after.settings.prompt}
    )
    return replace(running, settings=settings, file=after.file, origins=after.origins, tables=after.tables)
