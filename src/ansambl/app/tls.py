"""The certificate with which Ansambl speaks https: read, looked at, read again; and how our own commands know it."""

from __future__ import annotations

import contextlib
import os
import re
import ssl
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from ansambl.app.configuration.gateway_settings import GatewaySettings
from ansambl.domain.errors import ConfigurationError
from ansambl.domain.text import Text, text
from ansambl.foundation.redaction import register_secret

_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)
_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME, which the module ssl has no name for."""
_EXPIRED, _NOT_YET = 10, 9
"""OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED and X509_V_ERR_CERT_NOT_YET_VALID."""
_SOON = 14 * 86400.0


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where a certificate, its key and the password of the key are; `password_env` is the name of a variable."""

    certificate: Path
    key: Path
    password_env: str | None = None

    @classmethod
    def of(cls, settings: GatewaySettings) -> CertificateFiles | None:
        """What the configuration names; None where it names none."""
        if settings.tls_certificate is None:
            return None
        certificate = Path(settings.tls_certificate)
        key = Path(settings.tls_key) if settings.tls_key is not None else certificate
        return cls(certificate, key, settings.tls_password_env)


class Certificate:
    """A certificate that is in use. `context` is what connections are made with, `pem` the certificate without chain.

    Raises:
        ConfigurationError: its files cannot be used; the message says which and why.
    """

    def __init__(self, files: CertificateFiles) -> None:
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Nobody offers HTTP/2 here, and clients that ask for it shall take HTTP/1.1.
        self.context.set_alpn_protocols(["http/1.1"])
        self.files = files
        self.pem = _load(self.context, files)

    def read_again(self, files: CertificateFiles) -> None:
        """Take what the files hold now; new connections get it, others stay as they are.

        Raises:
            ConfigurationError: they cannot be used; nothing is changed.
        """
        # Into another context first: a half that was read would stay.
        _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), files)
        self.pem = _load(self.context, files)
        self.files = files

    def warnings(self) -> list[Text]:
        """What is not good about it, though it works."""
        found = []
        reason, until = _checked(self.context, self.pem)
        if reason is not None:
            found.append(
                text("The certificate {file} is not good: {reason}; clients will refuse it.",
                     file=self.files.certificate, reason=reason)
            )  # fmt: skip
        elif until is not None and until - time.time() < _SOON:
            found.append(
                text("The certificate {file} ends in {days} days; renew it, and reload Ansambl with SIGHUP.",
                     file=self.files.certificate, days=max(0, int((until - time.time()) / 86400)))
            )  # fmt: skip
        with contextlib.suppress(OSError):
            if self.files.key.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
                found.append(
                    text("Every user of this machine can read the key {file}; run: chmod 600 {file}",
                         file=self.files.key)
                )  # fmt: skip
        return found

    def valid_until(self) -> float | None:
        """When it ends, in seconds since the epoch; None where it cannot be told."""
        return _checked(self.context, self.pem)[1]


def pinned_context(pem: str) -> ssl.SSLContext:
    """What our own commands connect with: this very certificate is accepted, whatever name it is for, and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=pem)
    # It is trusted itself, not because of who signed it; and who runs Ansambl may stop it also when it has expired.
    context.verify_flags = ssl.VerifyFlags(context.verify_flags | ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME)
    return context


def _load(context: ssl.SSLContext, files: CertificateFiles) -> str:
    """Load the files into `context`; returns the certificate itself, without its chain."""
    for file in (files.certificate, files.key):
        try:
            content = file.read_text(encoding="ascii", errors="replace")
        except OSError as error:
            raise ConfigurationError(
                text("The file {file} cannot be read ({reason}).", file=file, reason=error.strerror or error)
            ) from None
        if file == files.certificate:
            found = _BLOCK.search(content)
    if found is None:
        raise ConfigurationError(
            text("{file} holds no certificate in PEM (-----BEGIN CERTIFICATE-----).", file=files.certificate)
        )

    asked = False

    def password() -> str:
        # Without this the library would ask on the terminal.
        nonlocal asked
        asked = True
        found = os.environ.get(files.password_env or "", "")
        register_secret(found, lasting=True)
        return found

    try:
        context.load_cert_chain(files.certificate, files.key, password)
    except (ssl.SSLError, ValueError, OSError) as error:
        raise ConfigurationError(_why(error, files, asked=asked)) from None
    return found[0]


def _why(error: Exception, files: CertificateFiles, *, asked: bool) -> Text:
    reason = getattr(error, "reason", None) or str(error)
    if reason == "KEY_VALUES_MISMATCH":
        return text("The key {key} does not belong to the certificate {certificate}.",
                    key=files.key, certificate=files.certificate)  # fmt: skip
    if asked:
        return text("The key {key} has a password; put it into a variable of the environment, and name that in "
                    "'tls_password_env'.", key=files.key) if files.password_env is None else text(
                    "The password in the environment variable {variable} does not open the key {key}.",
                    variable=files.password_env, key=files.key)  # fmt: skip
    return text("The certificate {certificate} and the key {key} cannot be used ({reason}).",
                certificate=files.certificate, key=files.key, reason=reason)  # fmt: skip


def _checked(server: ssl.SSLContext, pem: str) -> tuple[Text | str | None, float | None]:
    """What a client would say against a certificate that it trusts, None if nothing; and when the certificate ends."""
    strict = pinned_context(pem)
    strict.verify_flags = ssl.VerifyFlags(strict.verify_flags & ~_NO_CHECK_TIME)
    reason: Text | str | None = None
    try:
        _shake_hands(server, strict)
    except ssl.SSLCertVerificationError as error:
        words = {_EXPIRED: text("it has expired"), _NOT_YET: text("it is not valid yet")}
        reason = words.get(error.verify_code, error.verify_message)
    except ssl.SSLError as error:
        reason = error.reason or str(error)
    try:
        ends = _shake_hands(server, pinned_context(pem)).get("notAfter")
    except ssl.SSLError:
        return reason, None
    return reason, ssl.cert_time_to_seconds(str(ends)) if ends else None


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, object]:
    """Connect two contexts in memory; returns the certificate as the client reads it."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = server.wrap_bio(up, down, server_side=True)
    there = client.wrap_bio(down, up)
    for side in (there, here, there, here):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return dict(there.getpeercert() or {})
