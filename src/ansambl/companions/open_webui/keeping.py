"""Where Open WebUI and what it keeps lie in our data folder, and the secrets between it and us."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ansambl.companions.open_webui.records import NAME
from ansambl.engines.install.folders import make_private
from ansambl.foundation.paths import write_atomically
from ansambl.foundation.redaction import register_secret

_SECRET_BYTES = 48


class Secrets(msgspec.Struct, frozen=True):
    """`session` signs Open WebUI's sessions, `key` is its API key for Ansambl. The same at every start."""

    session: str
    key: str

    def __repr__(self) -> str:
        """Nothing of them."""
        return "Secrets(…)"


@dataclass(frozen=True, slots=True)
class Places:
    """The folders below the companions' folder of our data folder."""

    companions: Path

    @property
    def programs(self) -> Path:
        """Where the environments are."""
        return self.companions / "programs"

    @property
    def own(self) -> Path:
        """What stays when the program is removed: chats, accounts, secrets (mode 0700)."""
        return self.companions / "data" / NAME

    @property
    def secrets(self) -> Path:
        """The file of the secrets (mode 0600)."""
        return self.own / "secrets.json"

    def data(self, *, signs_in: bool) -> Path:
        """Open WebUI's own folder.

        There is one for people who sign in and one for the one person who does not: Open WebUI cannot go from one to
        the other, and the account that it makes by itself for the latter has a password that everybody knows.
        """
        return self.own / ("accounts" if signs_in else "one-person")


def keep_secrets(places: Places, new_key: str, *, renew: bool = False) -> Secrets:
    """The secrets, made at the first start; `new_key` is used where there is no key yet, or it is to be renewed.

    Raises:
        OSError: they cannot be written.
    """
    try:
        found = msgspec.json.decode(places.secrets.read_bytes(), type=Secrets)
    except (OSError, ValueError):
        found = Secrets(secrets.token_urlsafe(_SECRET_BYTES), new_key)
        renew = True
    if renew:
        found = Secrets(found.session, new_key)
        make_private(places.own)
        write_atomically(places.secrets, msgspec.json.encode(found))
    register_secret(found.session, lasting=True)
    register_secret(found.key, lasting=True)
    return found
