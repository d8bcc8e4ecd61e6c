"""`[kafka.security]` in each client's words; what cannot work is named before a client is made."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from store.security import SecurityError, async_client_security, client_security, security_of
from store.security.options import secret_of
from store.settings import Kafka, SettingsError, load_settings, settings_from
from tests.secured import make_certificates

SASL = {"protocol": "SASL_PLAINTEXT", "username": "ada", "password": "x"}


def kafka_of(client: dict[str, Any] | None = None, **security: Any) -> Kafka:
    return settings_from({"kafka": {"security": security, "client": client or {}}}).kafka


@pytest.mark.parametrize("words", [client_security, async_client_security])
def test_nothing_given_is_plaintext(words: Any) -> None:
    assert words(kafka_of()) == {"security_protocol": "PLAINTEXT"}


@pytest.mark.parametrize("words", [client_security, async_client_security])
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_user_with_a_password(words: Any, mechanism: str) -> None:
    assert words(kafka_of(**SASL, mechanism=mechanism)) == {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": mechanism,
        "sasl_plain_username": "ada",
        "sasl_plain_password": "x",
    }


def test_a_secret_out_of_a_file_ends_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(" 0042\n")
    kafka = kafka_of(protocol="SASL_PLAINTEXT", username="ada", password_file=str(file))
    assert client_security(kafka)["sasl_plain_password"] == " 0042"
    assert secret_of(security_of(kafka), "key_password") == ""


def test_digits_in_the_environment_stay_text() -> None:
    environment = {
        "SIDESTREAM_KAFKA__SECURITY__PROTOCOL": "SASL_PLAINTEXT",
        "SIDESTREAM_KAFKA__SECURITY__USERNAME": "true",
        "SIDESTREAM_KAFKA__SECURITY__PASSWORD": "0042",
    }
    security = load_settings(environment=environment).kafka.security
    assert (security.username, security.password) == ("true", "0042")


def test_what_the_client_table_says_of_security_means_the_same() -> None:
    client = {"security_protocol": "SASL_PLAINTEXT", "sasl_plain_username": "ada", "sasl_plain_password": 42}
    options = async_client_security(kafka_of({**client, "sasl_mechanism": "SCRAM-SHA-256", "client_id": "us"}))
    assert options["sasl_plain_password"] == "42"
    assert options["sasl_mechanism"] == "SCRAM-SHA-256"
    assert options["client_id"] == "us"
    with pytest.raises(SecurityError, match="MAGIC"):
        client_security(kafka_of({"security_protocol": "MAGIC"}))


def test_tls_is_one_context_for_every_client(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    files = {"ca_file": str(made.ca), "certificate_file": str(made.client)}
    for words in (client_security, async_client_security):
        options = words(kafka_of(protocol="SSL", **files, check_hostname=False))
        context = options.pop("ssl_context")
        assert isinstance(context, ssl.SSLContext)
        assert not context.check_hostname
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert options == {"security_protocol": "SSL"}


def test_files_that_are_missing_or_no_certificates_are_named(tmp_path: Path) -> None:
    with pytest.raises(SecurityError, match=r"kafka\.security\.ca_file = .*nowhere.*No such file"):
        client_security(kafka_of(protocol="SSL", ca_file=str(tmp_path / "nowhere")))
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(SecurityError, match=r"kafka\.security\.ca_file .*PEM"):
        client_security(kafka_of(protocol="SSL", ca_file=str(tmp_path / "ca.pem")))
    made = make_certificates(tmp_path)
    with pytest.raises(SecurityError, match="do not fit together"):
        client_security(
            kafka_of(
                protocol="SSL", certificate_file=str(made.client), key_file=str(made.expired), ca_file=str(made.ca)
            )
        )


def bearer() -> str:
    """The hook of a test."""
    return "a token"


def test_a_bearer_token_comes_from_the_hook() -> None:
    security = {"protocol": "SASL_PLAINTEXT", "mechanism": "OAUTHBEARER", "token": f"{__name__}:bearer"}
    assert client_security(kafka_of(**security))["sasl_oauth_token_provider"].token() == "a token"
    with pytest.raises(SecurityError, match="names no function"):
        client_security(kafka_of(**{**security, "token": "nowhere:function"}))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"protocol": "SASL_SSL"}, "needs kafka.security.username"),
        ({"protocol": "SASL_SSL", "username": "ada"}, "needs kafka.security.password or password_file"),
        ({"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER"}, "name a hook"),
        ({"username": "ada"}, "username is ignored with protocol = PLAINTEXT"),
        ({"ca_file": "ca.pem"}, "ca_file is ignored with protocol = PLAINTEXT"),
        ({**SASL, "password_file": "f"}, "are both given"),
        ({"protocol": "SSL", "key_file": "k"}, "key_file needs kafka.security.certificate_file"),
        ({"protocol": "TLS"}, "SASL_SSL"),
        ({"pasword": "x"}, "did you mean kafka.security.password"),
    ],
)
def test_a_section_that_cannot_work_is_refused_with_its_key(given: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_from({"kafka": {"security": given}})
    assert named in str(caught.value)
