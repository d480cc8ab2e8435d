"""What stands between the network and the faces, as the configuration wants it, also after it was read again."""

from __future__ import annotations

import resource
from collections.abc import Callable

from ansambl.app.configuration.gateway_settings import GatewaySettings
from ansambl.app.tls import Certificate, CertificateFiles
from ansambl.domain.text import Text, text
from ansambl.foundation.logging import get_logger
from ansambl.gateway.front.connection_limits import Limits
from ansambl.gateway.front.connections import Connections
from ansambl.gateway.front.guard import Guard, WebRules, is_loopback
from ansambl.gateway.front.peers import Proxies

log = get_logger(__name__)

_OTHER_FILES = 200
"""Open files of everything that is no connection of a client: databases, logs, children."""


def limits_of(settings: GatewaySettings) -> Limits:
    """What one client may take."""
    return Limits(
        connections=settings.max_connections, headers=settings.max_headers, header_bytes=settings.max_header_bytes,
        url_bytes=settings.max_url, head_timeout=settings.header_timeout, body_timeout=settings.body_timeout,
        write_timeout=settings.write_timeout, keep_alive=settings.keep_alive,
    )  # fmt: skip


def rules_of(settings: GatewaySettings) -> WebRules:
    """Where requests may come from."""
    return WebRules(
        frozenset(settings.hosts), frozenset(settings.origins), not is_loopback(settings.host),
        Proxies.of(settings.trusted_proxies),
    )  # fmt: skip


class Front:
    """The guard, the connections and the certificate of one address.

    `has_keys` tells whether requests need a key. `renewed` is called with another certificate after it was read.

    Raises:
        ConfigurationError: the certificate cannot be used.
    """

    def __init__(self, settings: GatewaySettings | None = None, has_keys: Callable[[], bool] = lambda: False) -> None:
        settings = settings or GatewaySettings()
        self._settings = settings
        self._has_keys = has_keys
        self.guard = Guard(rules_of(settings), has_keys)
        self.connections = Connections(limits_of(settings))
        files = CertificateFiles.of(settings)
        self.certificate = Certificate(files) if files is not None else None
        self.renewed: Callable[[], object] = lambda: None

    @property
    def hsts(self) -> int:
        """For how long browsers shall come by https only, in seconds; 0 where nothing is said."""
        return round(self._settings.hsts) if self.certificate is not None else 0

    def check(self, settings: GatewaySettings) -> list[Text]:
        """Look whether other settings could be used; returns what should be known of them.

        Raises:
            ConfigurationError: the certificate cannot be used.
        """
        files = make_room_for_connections(settings)
        return [*Front(settings, self._has_keys).warnings(), *((files,) if files else ())]

    def use(self, settings: GatewaySettings) -> None:
        """Take other settings; requests that are being answered go on.

        Raises:
            ConfigurationError: the certificate cannot be used.
        """
        files = CertificateFiles.of(settings)
        if files is not None and self.certificate is not None:
            self.certificate.read_again(files)
            self.renewed()
        self._settings = settings
        self.guard.use(rules_of(settings))
        self.connections.limits = limits_of(settings)

    def warnings(self) -> list[Text]:
        """What the owner should know of these settings."""
        found = [] if self.certificate is None else self.certificate.warnings()
        if "*" in self._settings.origins and not self._has_keys():
            found.append(
                text("'*' under 'origins' counts for nothing while there are no API keys: any web page could use this "
                     "Ansambl. Create a key: ansambl keys create")
            )  # fmt: skip
        return found


def make_room_for_connections(settings: GatewaySettings) -> Text | None:
    """Let this process have as many open files as its connections need; returns what to say where that is not allowed.

    A request takes two: its client's connection and the engine's.
    """
    wanted = 2 * settings.max_connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return None
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
    if allowed >= wanted:
        return None
    return text("This system allows {files} open files, too few for {connections} connections; raise its limit "
                "(ulimit -n), or lower 'max_connections' under [gateway].",
                files=max(soft, allowed), connections=settings.max_connections)  # fmt: skip
