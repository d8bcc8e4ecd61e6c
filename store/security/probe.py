"""The probe: one connection made to learn why a broker does not let a client in.

Kafka clients go on trying until their time is over, and then say that nobody answered: a wrong password, an expired
certificate and a broker that is not there all read alike. One connection of aiokafka's says what it was.

Invariant: an answer names the cause and the setting to correct, and never a secret.
"""

from __future__ import annotations

import asyncio
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest
from kafka.errors import KafkaError as ClientError

from store.security.options import SecurityError, async_client_security, security_of
from store.settings import Kafka, Security

CONNECTION = (
    *("security_protocol", "ssl_context", "sasl_mechanism", "sasl_plain_username", "sasl_plain_password"),
    "sasl_oauth_token_provider",
)
"""The options that a single connection takes."""


class NoServerError(ClientError):  # type: ignore[misc]  # kafka-python has no types
    """No bootstrap server lets this client in. To whoever uses kafka-python it is one of its errors."""


class RefusedError(NoServerError):
    """Servers answer, and none lets this client in: the message says why."""


class SilentError(NoServerError, TimeoutError):
    """A server takes the connection and says nothing."""


class AbsentError(NoServerError, ConnectionRefusedError):
    """Nobody listens."""


def find_server(kafka: Kafka) -> str:
    """The first bootstrap server that lets this client in, of all, which are asked within `connect_timeout_s`.

    Raises `RefusedError` where none does and one says why; else `SilentError` where one takes the connection and says
    nothing; else `AbsentError`.
    """
    try:
        options = async_client_security(kafka)
    except SecurityError as error:
        raise RefusedError(str(error)) from error
    with ThreadPoolExecutor(1, thread_name_prefix="probe") as threads:  # an event loop may be running in this one
        return threads.submit(asyncio.run, _find(kafka, options)).result()


async def _find(kafka: Kafka, options: dict[str, Any]) -> str:
    security = security_of(kafka)
    known = {name: options[name] for name in CONNECTION if name in options}
    servers = [server.strip() for server in kafka.bootstrap_servers.split(",")]
    reasons: list[str] = []
    silent: list[str] = []
    for server in servers:
        host, _, port = server.rpartition(":")
        try:
            await _ask(host.strip("[]"), int(port), known, kafka.connect_timeout_s / len(servers))
            return server
        except TimeoutError:
            silent.append(server)
        except Exception as error:
            reasons += filter(None, [_reason(error, security, server)])
    if reasons:
        raise RefusedError(reasons[0])
    if silent:
        raise SilentError(f"{', '.join(silent)} did not answer")
    raise AbsentError(f"nobody listens at {kafka.bootstrap_servers}")


def _reason(error: Exception, security: Security, server: str) -> str:
    """Empty where nobody is there, or the broker said nothing of security: another may. Raises what it cannot name."""
    if isinstance(error, ssl.SSLError):
        return _by_tls(error, security, server)
    if isinstance(error, KafkaError):
        return _by_broker(error, security, server)
    if isinstance(error, ConnectionResetError | BrokenPipeError | EOFError):
        return _by_hanging_up(security, server)
    if isinstance(error, OSError | ValueError):
        return ""
    if security.mechanism == "OAUTHBEARER":
        return f"the hook kafka.security.token = {security.token!r} failed: {error!r}"
    raise error


async def _ask(host: str, port: int, options: dict[str, Any], timeout_s: float) -> None:
    """One request: a broker that expects SASL lets anybody connect, and hangs up at the first."""
    connection = AIOKafkaConnection(host, port, request_timeout_ms=int(timeout_s * 1000), **options)
    opened = True
    try:
        await asyncio.wait_for(connection.connect(), timeout_s)
        await asyncio.wait_for(connection.send(MetadataRequest([])), timeout_s)
    except OSError as error:
        opened = isinstance(error, TimeoutError)  # else there was none: its end would never be told
        raise
    finally:
        if (ended := connection.close()) and opened:
            await asyncio.wait([ended], timeout=1.0)
        await asyncio.sleep(0)  # the transport goes with the next turn of the loop


def _by_tls(error: ssl.SSLError, security: Security, server: str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        if "expired" in error.verify_message:
            return f"the certificate of the broker {server} has expired: renew it on the broker"
        if "IP address" in error.verify_message or "ostname" in error.verify_message:
            return (
                f"the certificate of the broker {server} is for another name ({error.verify_message}): use its name in "
                "kafka.bootstrap_servers, or set kafka.security.check_hostname = false"
            )
        return (
            f"the certificate of the broker {server} is not trusted ({error.verify_message}): set "
            "kafka.security.ca_file to the authority that signed it"
        )
    if "WRONG_VERSION" in str(error.reason) or "UNEXPECTED_EOF" in str(error.reason):
        return _by_hanging_up(security, server)
    return (
        f"the broker {server} refuses this client's certificate ({error.reason}): look at "
        "kafka.security.certificate_file (missing, expired, or signed by an authority that the broker does not know)"
    )


def _by_broker(error: KafkaError, security: Security, server: str) -> str:
    """Empty where the broker said nothing of security: another may."""
    cause = error.__cause__ or error.__context__
    if isinstance(cause, ssl.SSLError):
        return _by_tls(cause, security, server)
    name = type(error).__name__
    if "Mechanism" in name:
        return f"the broker {server} does not offer {security.mechanism}: set kafka.security.mechanism ({error})"
    if "Authentication" in name:
        if security.mechanism == "OAUTHBEARER":
            return f"the broker {server} refuses the token of {security.token!r}: {error}"
        return (
            f"the broker {server} refuses the password of user {security.username!r} ({security.mechanism}): correct "
            "username and password in [kafka.security]"
        )
    return _by_hanging_up(security, server) if "Connection" in name else ""


def _by_hanging_up(security: Security, server: str) -> str:
    if security.protocol == "PLAINTEXT":
        return f"the broker {server} ends the connection: it may expect TLS or SASL, set kafka.security.protocol"
    if security.protocol.endswith("SSL"):
        return f"the broker {server} does not speak TLS at this port: kafka.security.protocol is {security.protocol}"
    return (
        f"the broker {server} ends the connection: kafka.security.protocol is {security.protocol}, it may expect TLS, "
        "or no SASL"
    )
