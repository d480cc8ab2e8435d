"""The settings of the address where Ansambl answers: the table ``[gateway]``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self

from pydantic import field_validator, model_validator

from ansambl.app.configuration.setting_types import Duration, SettingError, Size, Table, Words, setting
from ansambl.domain.text import Text, text
from ansambl.domain.units import GIB, KIB, MIB, Bytes, Seconds
from ansambl.foundation.network import host_name_of, network_of, origin_of

_SHOWN = 100


class GatewaySettings(Table):
    """The address where Ansambl answers."""

    host: str = setting("127.0.0.1", "The address to listen on. Other than loopback is refused while no key exists.")
    port: int = setting(8484, "The TCP port to listen on; 0 takes a free one.", ge=0, le=65535)
    max_body: Size = setting(
        Bytes(32 * MIB), "The largest request body that is read; a larger one is answered with status 413.",
        unit='bytes, or text such as "32MiB"', ge=KIB, le=GIB,
    )  # fmt: skip
    drain: Duration = setting(
        Seconds(20.0), "How long running answers may take to finish after Ansambl was told to stop.",
        unit='seconds, or text such as "20s"', ge=0, le=600,
    )  # fmt: skip
    log_requests: bool = setting(
        True, "Whether a line about each finished request, without its contents, is added to logs/requests.log."
    )
    log_contents: bool = setting(
        False, "Whether what is asked and answered is written, word for word, to logs/contents.log. For finding faults."
    )
    hosts: Words = setting(
        (), 'Names under which other machines or a proxy reach Ansambl, such as "ai.example.org" or "*.example.org". '
        "Requests for other names are refused: a web page may have had its name point here. Loopback names always "
        "count, and addresses where other machines come in.",
    )  # fmt: skip
    origins: Words = setting(
        (), 'Web pages of other sites that may ask and read answers (CORS), such as "https://chat.example.org"; "*" is '
        "all of them, and counts only while there are API keys.",
    )  # fmt: skip
    trusted_proxies: Words = setting(
        (), 'Addresses and networks of proxies, such as "10.0.0.0/8", whose X-Forwarded-For, -Proto and -Host and '
        "Forwarded are believed.",
    )  # fmt: skip
    tls_certificate: str | None = setting(
        None, "A file with a certificate and its chain (PEM); with it, Ansambl speaks https. Read again at a reload."
    )
    tls_key: str | None = setting(None, "The file with the certificate's key (PEM), where that is another one.")
    tls_password_env: str | None = setting(None, "The environment variable that holds the password of the key.")
    hsts: Duration = setting(
        Seconds(0.0), "For how long browsers shall come to this host name by https alone, on any port; 0 says nothing.",
        unit='seconds, or text such as "30d"', ge=0,
    )  # fmt: skip
    max_connections: int = setting(
        4096, "How many connections are held at once. Idle ones make room for new ones, and then new ones are refused.",
        ge=1, le=1_000_000,
    )  # fmt: skip
    max_headers: int = setting(200, "How many headers a request may have; more gives status 431.", ge=20, le=10_000)
    max_header_bytes: Size = setting(
        Bytes(64 * KIB), "How large a request's headers may be in all; larger ones give status 431.",
        unit='bytes, or text such as "64KiB"', ge=8 * KIB, le=16 * MIB,
    )  # fmt: skip
    max_url: Size = setting(
        Bytes(16 * KIB), "How long the address of a request may be; a longer one gives status 414.",
        unit='bytes, or text such as "16KiB"', ge=KIB, le=16 * MIB,
    )  # fmt: skip
    header_timeout: Duration = setting(
        Seconds(20.0), "How long a client may take to send a request's headers; then it gets status 408. It may take "
        "as long before, to agree on TLS.", unit='seconds, or text such as "20s"', ge=0.1, le=3600,
    )  # fmt: skip
    body_timeout: Duration = setting(
        Seconds(30.0), "In any such span at least 500 bytes a second of a body must come; else the answer is 408.",
        unit='seconds, or text such as "30s"', ge=0.1, le=3600,
    )  # fmt: skip
    write_timeout: Duration = setting(
        Seconds(60.0), "How long a client may read nothing of an answer that waits for it; then it is cut off.",
        unit='seconds, or text such as "60s"', ge=0.1, le=3600,
    )  # fmt: skip
    keep_alive: Duration = setting(
        Seconds(75.0), "How long a connection is kept on which nothing is asked.",
        unit='seconds, or text such as "75s"', ge=0.1, le=3600,
    )  # fmt: skip

    @property
    def speaks_tls(self) -> bool:
        """Whether clients come by https."""
        return self.tls_certificate is not None

    @field_validator("hosts")
    @classmethod
    def _host_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _each(
            value,
            host_name_of,
            lambda one: text(
                "'{name}' is not a host name; write it without scheme, port and path, such as ai.example.org", name=one
            ),
        )

    @field_validator("origins")
    @classmethod
    def _web_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _each(
            value,
            lambda one: one if one == "*" else origin_of(one),
            lambda one: text(
                "'{origin}' is not the origin of a web page; write it without a path, such as https://chat.example.org",
                origin=one,
            ),
        )

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _each(
            value,
            lambda one: str(network_of(one)),
            lambda one: text("'{written}' is not an address or a network; write 10.0.0.5 or 10.0.0.0/8", written=one),
        )

    @model_validator(mode="after")
    def _certificate_and_key(self) -> Self:
        for key in ("tls_key", "tls_password_env"):
            if getattr(self, key) is not None and self.tls_certificate is None:
                raise SettingError(text("needs 'tls_certificate' beside it"), key)
        return self


def _each(values: Iterable[str], read: Callable[[str], str], problem: Callable[[str], Text]) -> tuple[str, ...]:
    """All values as `read` gives them; `problem` says what is wrong with one that it raises for."""
    found: list[Any] = []
    for one in values:
        try:
            found.append(read(one))
        except ValueError:
            raise SettingError(problem(one[:_SHOWN])) from None
    return tuple(found)
