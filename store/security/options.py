"""Security: who a Kafka client says it is and whom it trusts, in the words of each client, from `[kafka.security]`.

Faust and aiokafka take a ready TLS context only, kafka-python takes one too: so one is made here for all of them.

Invariant: this is the only module that turns security settings into a client's options; a secret leaves it in no other
way, and whatever cannot work is refused before a client is made.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from store.settings import Kafka, Registry, Security

LEGACY: Mapping[str, str] = {
    "security_protocol": "protocol",
    "sasl_mechanism": "mechanism",
    "sasl_plain_username": "username",
    "sasl_plain_password": "password",
    "ssl_cafile": "ca_file",
    "ssl_certfile": "certificate_file",
    "ssl_keyfile": "key_file",
    "ssl_password": "key_password",
    "ssl_check_hostname": "check_hostname",
}
"""What `[kafka.client]` may say of security by kafka-python's names → the key of `[kafka.security]` that it means."""


class SecurityError(ValueError):
    """`[kafka.security]` cannot work as it stands, or the broker refuses it: the message names the key to correct."""


def security_of(kafka: Kafka) -> Security:
    """`[kafka.security]`, completed by what `[kafka.client]` says of security."""
    given = {LEGACY[name]: value for name, value in kafka.client.items() if name in LEGACY}
    texts = {key: value if key == "check_hostname" else str(value) for key, value in given.items()}
    default = Security()
    free = {key: value for key, value in texts.items() if getattr(kafka.security, key) == getattr(default, key)}
    try:
        merged = {**msgspec.to_builtins(kafka.security), **free}
        return msgspec.convert(merged, Security)
    except msgspec.ValidationError as error:
        raise SecurityError(f"[kafka.client] says of security what cannot be: {error}") from None


def client_security(kafka: Kafka) -> dict[str, Any]:
    """The options of a kafka-python client: security, and whatever else `[kafka.client]` says."""
    return _options(kafka, _token_provider)


def async_client_security(kafka: Kafka) -> dict[str, Any]:
    """The same for an aiokafka client."""
    return _options(kafka, _async_token_provider)


def tls_context(security: Security) -> ssl.SSLContext | None:
    """The TLS context of a client; None where the protocol has no TLS."""
    if not security.protocol.endswith("SSL"):
        return None
    context = trusting(_existing(security, "ca_file") or "", "kafka.security.ca_file")
    if not security.check_hostname:
        context.check_hostname = False
    if certificate := _existing(security, "certificate_file"):
        key = _existing(security, "key_file")
        try:
            context.load_cert_chain(certificate, key, secret_of(security, "key_password"))
        except ssl.SSLError as error:
            names = f"kafka.security.certificate_file {certificate} and key_file {key or certificate}"
            raise SecurityError(f"{names} do not fit together, or key_password is wrong ({error.reason})") from None
    return context


def trusting(ca_file: str, key: str) -> ssl.SSLContext:
    """The context of a client that trusts the authorities in a file (empty: this machine's) that the setting `key`
    names."""
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except ssl.SSLError as error:
        raise SecurityError(f"{key} {ca_file}: no certificate in PEM form ({error.reason})") from None
    except OSError as error:
        raise SecurityError(f"{key} {ca_file} cannot be read: {error}") from None


def secret_of(said: Security | Registry, name: str, table: str = "kafka.security") -> str:
    """A secret of a table of the settings, as it stands or out of the file that `NAME_file` names (its last line break
    is no part of it)."""
    value: str = getattr(said, name)
    file = _existing(said, f"{name}_file", table)
    return value if value or file is None else Path(file).read_text(encoding="utf-8").rstrip("\r\n")


def token_source(security: Security) -> Callable[[], str]:
    """The function that `token` names, `module:function`: it returns a bearer token."""
    module, _, function = security.token.partition(":")
    try:
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise SecurityError(f"kafka.security.token = {security.token!r} names no function: {error}") from None
    source: Callable[[], str] = found
    return source


def _options(kafka: Kafka, provider: Callable[[Callable[[], str]], object]) -> dict[str, Any]:
    security = security_of(kafka)
    others = {name: value for name, value in kafka.client.items() if name not in LEGACY}
    options: dict[str, Any] = {"security_protocol": security.protocol}
    if context := tls_context(security):
        options["ssl_context"] = context
    if security.protocol.startswith("SASL"):
        options |= {"sasl_mechanism": security.mechanism, **_credentials(security, provider)}
    return {**options, **others}


def _credentials(security: Security, provider: Callable[[Callable[[], str]], object]) -> dict[str, Any]:
    if security.mechanism == "OAUTHBEARER":
        return {"sasl_oauth_token_provider": provider(token_source(security))}
    return {"sasl_plain_username": security.username, "sasl_plain_password": secret_of(security, "password")}


def _token_provider(source: Callable[[], str]) -> object:
    from kafka.net.sasl.oauth import AbstractTokenProvider

    class TokenProvider(AbstractTokenProvider):  # type: ignore[misc]
        """Asks the hook at each connection."""

        def token(self) -> str:
            return source()

    return TokenProvider()


def _async_token_provider(source: Callable[[], str]) -> object:
    import asyncio

    from aiokafka.abc import AbstractTokenProvider

    class TokenProvider(AbstractTokenProvider):  # type: ignore[misc]
        """Asks the hook at each connection, in a thread: it may ask a server."""

        async def token(self) -> str:
            return await asyncio.to_thread(source)

    return TokenProvider()


def _existing(said: Security | Registry, name: str, table: str = "kafka.security") -> str | None:
    """A file that the settings name; refused where it cannot be read."""
    file: str = getattr(said, name)
    if not file:
        return None
    try:
        with open(file, "rb"):
            return file
    except OSError as error:
        raise SecurityError(f"{table}.{name} = {file}: {error.strerror}") from None
