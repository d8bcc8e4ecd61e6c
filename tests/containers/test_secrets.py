"""deploy/secrets.sh: what it makes fits together, is kept by a second run, and is open to nobody else here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import DNSName, SubjectAlternativeName, load_pem_x509_certificates

from tests.clusters import REPOSITORY

SCRIPT = REPOSITORY / "deploy/secrets.sh"

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on the PATH")


def made(folder: Path) -> dict[str, bytes]:
    subprocess.run([SCRIPT, folder], check=True, capture_output=True)
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_certificate_and_password_fit_and_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    files = made(folder)
    assert set(files) == {
        *("kafka/kafka.pem", "kafka/server.properties"),
        *("sidestream/ca.pem", "sidestream/kafka-password"),
    }
    (authority,) = load_pem_x509_certificates(files["sidestream/ca.pem"])
    (certificate,) = load_pem_x509_certificates(files["kafka/kafka.pem"])
    certificate.verify_directly_issued_by(authority)
    assert load_pem_private_key(files["kafka/kafka.pem"], None).public_key() == certificate.public_key()
    names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    assert names.get_values_for_type(DNSName) == ["kafka", "localhost"]
    password = files["sidestream/kafka-password"].decode()
    assert files["kafka/server.properties"].decode().count(f'user_sidestream="{password}"') == 2
    assert folder.stat().st_mode & 0o777 == 0o700
    assert made(folder) == files, "a second run keeps what is there"
    assert made(tmp_path / "others")["sidestream/kafka-password"] != files["sidestream/kafka-password"]
