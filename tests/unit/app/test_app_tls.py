"""Certificates: files that work, files that do not, and what is said of each."""

import os
import ssl
import subprocess

import pytest

from ansambl.app.configuration.gateway_settings import GatewaySettings
from ansambl.app.front import Front
from ansambl.app.running_state import RunningState
from ansambl.app.tls import Certificate, CertificateFiles, pinned_context
from ansambl.domain.errors import ConfigurationError


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def make(folder, name="ai.example", *, until="20401231000000Z", since="20200101000000Z"):
    """A certificate and its key, by the system's own tool."""
    folder.mkdir(parents=True, exist_ok=True)
    key, request, made = folder / "key.pem", folder / "request.pem", folder / "cert.pem"
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out",
            request, "-subj", f"/CN={name}")  # fmt: skip
    (folder / "index").touch()
    (folder / "serial").write_text("01")
    config = folder / "ca.cnf"
    config.write_text(
        f"[ca]\ndefault_ca=one\n[one]\nnew_certs_dir={folder}\ndatabase={folder}/index\nserial={folder}/serial\n"
        "default_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n"
    )
    openssl("ca", "-batch", "-config", config, "-selfsign", "-keyfile", key, "-in", request, "-out", made, "-startdate",
            since, "-enddate", until, "-notext")  # fmt: skip
    key.chmod(0o600)
    return CertificateFiles(made, key)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return make(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return make(tmp_path_factory.mktemp("other"), "other.example")


def connects(server, client):
    """Whether two contexts agree, over memory."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    here, there = server.wrap_bio(up, down, server_side=True), client.wrap_bio(down, up)
    try:
        for side in (there, here, there, here):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    except ssl.SSLCertVerificationError:
        return False
    return True


def test_a_good_certificate_gives_no_warning_and_tells_its_end(good):
    certificate = Certificate(good)
    assert certificate.warnings() == []
    assert certificate.valid_until() == ssl.cert_time_to_seconds("Dec 31 00:00:00 2040 GMT")
    assert certificate.context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_our_own_commands_accept_this_very_certificate_and_no_other(good, other):
    certificate = Certificate(good)
    assert connects(certificate.context, pinned_context(certificate.pem))
    assert not connects(Certificate(other).context, pinned_context(certificate.pem))


def test_certificate_and_key_may_stand_in_one_file(good, tmp_path):
    both = tmp_path / "both.pem"
    both.write_bytes(good.key.read_bytes() + good.certificate.read_bytes())
    assert Certificate(CertificateFiles(both, both)).pem == Certificate(good).pem


def test_a_key_with_a_password(good, tmp_path, monkeypatch):
    locked = tmp_path / "locked.pem"
    openssl("pkey", "-in", good.key, "-aes256", "-passout", "pass:secret words", "-out", locked)
    with pytest.raises(ConfigurationError, match="tls_password_env"):
        Certificate(CertificateFiles(good.certificate, locked))
    monkeypatch.setenv("KEY_PASSWORD", "wrong")
    with pytest.raises(ConfigurationError, match="KEY_PASSWORD does not open") as raised:
        Certificate(CertificateFiles(good.certificate, locked, "KEY_PASSWORD"))
    assert "wrong" not in str(raised.value)
    monkeypatch.setenv("KEY_PASSWORD", "secret words")
    Certificate(CertificateFiles(good.certificate, locked, "KEY_PASSWORD"))


def test_what_cannot_be_used_is_said_in_one_line(good, other, tmp_path):
    nothing, garbage = tmp_path / "nothing.pem", tmp_path / "garbage.pem"
    garbage.write_bytes(b"-----BEGIN CERTIFICATE-----\n\xff\xfe\n-----END CERTIFICATE-----\n")
    for files, words in (
        (CertificateFiles(nothing, good.key), "nothing.pem cannot be read"),
        (CertificateFiles(good.certificate, nothing), "nothing.pem cannot be read"),
        (CertificateFiles(tmp_path, good.key), "cannot be read"),
        (CertificateFiles(good.key, good.key), "holds no certificate"),
        (CertificateFiles(good.certificate, other.key), "does not belong to the certificate"),
        (CertificateFiles(good.certificate, good.certificate), "cannot be used"),
        (CertificateFiles(garbage, good.key), "cannot be used"),
    ):
        with pytest.raises(ConfigurationError, match=words) as raised:
            Certificate(files)
        assert "\n" not in str(raised.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_key_that_we_may_not_read(good, tmp_path):
    hidden = tmp_path / "hidden.pem"
    hidden.write_bytes(good.key.read_bytes())
    hidden.chmod(0)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Certificate(CertificateFiles(good.certificate, hidden))


@pytest.mark.parametrize(
    ("since", "until", "words"),
    [("20200101000000Z", "20210101000000Z", "has expired"), ("20400101000000Z", "20410101000000Z", "not valid yet")],
)
def test_a_certificate_out_of_its_time_works_and_is_warned_of(tmp_path, since, until, words):
    certificate = Certificate(make(tmp_path / "made", since=since, until=until))
    assert [words in one.render() for one in certificate.warnings()] == [True]
    # Whoever runs Ansambl can still stop it.
    assert connects(certificate.context, pinned_context(certificate.pem))


def test_a_key_that_everybody_can_read_is_warned_of(good, tmp_path):
    bare = tmp_path / "bare.pem"
    bare.write_bytes(good.key.read_bytes())
    bare.chmod(0o644)
    found = Certificate(CertificateFiles(good.certificate, bare)).warnings()
    assert ["chmod 600" in one.render() for one in found] == [True]


def test_a_renewed_certificate_is_taken_and_a_broken_one_changes_nothing(good, other, tmp_path):
    files = CertificateFiles(tmp_path / "cert.pem", tmp_path / "key.pem")

    def put(one):
        files.certificate.write_bytes(one.certificate.read_bytes())
        files.key.write_bytes(one.key.read_bytes())
        files.key.chmod(0o600)

    put(good)
    front = Front(GatewaySettings(tls_certificate=str(files.certificate), tls_key=str(files.key)))
    told = []
    front.renewed = lambda: told.append(front.certificate.pem)
    put(other)
    front.use(GatewaySettings(tls_certificate=str(files.certificate), tls_key=str(files.key)))
    assert told == [Certificate(other).pem]
    assert connects(front.certificate.context, pinned_context(Certificate(other).pem))
    files.key.write_bytes(good.key.read_bytes())
    with pytest.raises(ConfigurationError):
        front.use(GatewaySettings(tls_certificate=str(files.certificate), tls_key=str(files.key)))
    assert connects(front.certificate.context, pinned_context(Certificate(other).pem))


def test_a_front_follows_other_settings():
    keys = []
    front = Front(GatewaySettings(origins=("*",)), lambda: bool(keys))
    assert [one.render()[:3] for one in front.warnings()] == ["'*'"]
    keys.append(1)
    assert front.warnings() == []
    front.use(GatewaySettings(hosts=("ai.example",), max_headers=50, trusted_proxies=("10.0.0.1",), write_timeout=5))
    assert front.guard.rules.hosts == {"ai.example"}
    assert (front.connections.limits.headers, front.connections.limits.write_timeout) == (50, 5)


def test_the_address_of_what_listens_everywhere_is_this_machine():
    def state(host, certificate=None):
        return RunningState(1, 0.0, host, 8484, "t", certificate=certificate)

    assert state("0.0.0.0").address == "http://127.0.0.1:8484"  # noqa: S104 - read, not listened on
    assert state("::", "PEM").address == "https://[::1]:8484"
    assert state("192.168.1.5").address == "http://192.168.1.5:8484"
    assert state("127.0.0.1").verification() is True
