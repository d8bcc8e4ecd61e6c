"""The probe: one connection made to learn why a broker does not let a client in.

Kafka clients go on trying until their time is over, and then say that nobody answered: a wrong password, an expired
certificate and a broker that is not there all read alike. One connection of aiokafka's says what it was.

Invariant: an answer names the cause and the setting to correct, and never a secret.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from store.security.options import SecurityError, async_client_security, security_of
from store.settings import Kafka, Security

CONNECTION = (
    *("security_protocol", "ssl_context", "sasl_mechanism", "sasl_plain_username", "sasl_plain_password"),
    "sasl_oauth_token_provider",
)
"""The options that a single connection takes."""


def refusal_of(kafka: Kafka, timeout_s: float = 5.0) -> str:
    """Why the first broker that can be reached refuses this client; empty where it lets it in, or none is there.

    Raises `TimeoutError` when one takes the connection and does not answer within `timeout_s`.
    """
    try:
        options = async_client_security(kafka)
    except SecurityError as error:
        return str(error)
    with ThreadPoolExecutor(1, thread_name_prefix="probe") as threads:  # an event loop may be running in this one
        return threads.submit(asyncio.run, _refusal(kafka, options, timeout_s)).result()


async def _refusal(kafka: Kafka, options: dict[str, Any], timeout_s: float) -> str:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    security = security_of(kafka)
    known = {name: options[name] for name in CONNECTION if name in options}
    for server in kafka.bootstrap_servers.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            await _ask(host.strip("[]"), int(port), known, timeout_s)
            return ""
        except ssl.SSLError as error:
            return _by_tls(error, security, server)
        except KafkaError as error:
            if reason := _by_broker(error, security, server):
                return reason
        except (ConnectionResetError, BrokenPipeError, EOFError):
            return _by_hanging_up(security, server)
        except TimeoutError:
            raise
        except (OSError, ValueError):
            continue
        except Exception as error:
            if security.mechanism == "OAUTHBEARER":
                return f"the hook kafka.security.token = {security.token!r} failed: {error!r}"
            raise
    return ""


async def _ask(host: str, port: int, options: dict[str, Any], timeout_s: float) -> None:
    """One request: a broker that expects SASL lets anybody connect, and hangs up at the first."""
    connection = AIOKafkaConnection(host, port, request_timeout_ms=int(timeout_s * 1000), **options)
    try:
        await asyncio.wait_for(connection.connect(), timeout_s)
        await asyncio.wait_for(connection.send(MetadataRequest([])), timeout_s)
    finally:
        if ended := connection.close():
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
