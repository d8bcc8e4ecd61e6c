"""TLS of the HTTP face: a certificate that cannot serve is refused by the name of its setting."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from store.security import SecurityError, server_context, trust
from store.settings import Serving, Tls
from tests.secured import Certificates, make_certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


def test_an_address_says_whether_it_is_secured() -> None:
    secured = Serving(tls=Tls(certificate_file="c.pem"))
    assert Serving().url_at("127.0.0.1", 1) == "http://127.0.0.1:1"
    assert secured.url_at("::1", 2) == "https://[::1]:2"


def test_without_a_certificate_there_is_no_tls(certificates: Certificates) -> None:
    assert server_context(Tls(ca_file=str(certificates.ca))) is None
    assert isinstance(server_context(Tls(certificate_file=str(certificates.broker))), ssl.SSLContext)


def test_what_cannot_serve_is_named(certificates: Certificates, tmp_path: Path) -> None:
    locked, text = tmp_path / "locked.pem", tmp_path / "text.pem"
    key = load_pem_private_key(certificates.broker.read_bytes(), None)
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    text.write_text("no certificate\n")
    broker = str(certificates.broker)
    for tls, named in (
        (Tls(certificate_file=str(tmp_path / "none.pem")), r"serving\.tls\.certificate_file .*none\.pem.*No such file"),
        (Tls(certificate_file=str(text)), r"text\.pem and key_file .* cannot be"),
        (
            Tls(certificate_file=broker, key_file=str(certificates.client)),
            r"client\.pem cannot be used \(KEY_VALUES_MISM",
        ),
        (Tls(certificate_file=broker, key_file=str(locked)), r"locked\.pem cannot be .*(encrypted|password)"),
    ):
        with pytest.raises(SecurityError, match=named):
            server_context(tls)


def test_whom_to_trust_is_read_or_named(certificates: Certificates, tmp_path: Path) -> None:
    assert trust(Tls(ca_file=str(certificates.ca))).verify_mode == ssl.CERT_REQUIRED
    assert trust(Tls()).check_hostname
    (tmp_path / "text.pem").write_text("no certificate\n")
    for file in ("text.pem", "none.pem"):
        with pytest.raises(SecurityError, match=rf"serving\.tls\.ca_file .*{file}"):
            trust(Tls(ca_file=str(tmp_path / file)))
