"""Real Kafka with a locked door: certificates of its own authority, passwords, and ACLs.

Each cluster has one broker with the doors that a test wants, and an internal one without security, through which it
makes ACLs as an administrator.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from tests.clusters import HOST, KafkaCluster, free_ports

INTERNAL = "INTERNAL"
USER, PASSWORD = "sidestream", "0042"
"""The password is digits: it has to stay text on every way that it takes."""

_PLAIN = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required "
    f'user_{USER}="{PASSWORD}" user_guest="guest-secret";'
)
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files of an authority, a broker and a client; of another authority, and of a client and a broker of the first
    that have expired."""

    ca: Path
    broker: Path
    client: Path
    stranger: Path
    expired: Path
    expired_broker: Path


def make_certificates(folder: Path) -> Certificates:
    """Writes them below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    authority, other = trustme.CA(), trustme.CA()
    past = datetime.now(UTC) - timedelta(days=1)

    def write(name: str, *blobs: trustme.Blob) -> Path:
        path = folder / name
        path.write_bytes(b"".join(blob.bytes() for blob in blobs))
        return path

    def issued(name: str, identity: str, **options: Any) -> Path:
        made = authority.issue_cert(identity, common_name=identity, **options)
        key = load_pem_private_key(made.private_key_pem.bytes(), None)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # Java knows no other form
        return write(name, trustme.Blob(pem), *made.cert_chain_pems)

    return Certificates(
        ca=write("ca.pem", authority.cert_pem),
        broker=issued("broker.pem", HOST),
        client=issued("client.pem", "client.test"),
        stranger=write("stranger.pem", other.cert_pem),
        expired=issued("expired.pem", "expired.test", not_after=past),
        expired_broker=issued("expired_broker.pem", HOST, not_after=past),
    )


@dataclass(frozen=True, slots=True)
class Door:
    """One listener: what it speaks, and the certificate that it shows (a PEM file with its key). `mutual`: it asks
    clients for theirs."""

    protocol: str
    mechanisms: tuple[str, ...] = ("PLAIN",)
    certificate: Path | None = None
    mutual: bool = False


def secured_cluster(
    folder: Path, doors: dict[str, Door], *, ca: Path | None = None, acls: bool = False
) -> KafkaCluster:
    """A cluster, not yet started, with these listeners, by name; `bootstrap_servers` is the first of them. `ca`: whose
    certificates of clients it trusts."""
    first, *others = doors
    ports = dict(zip([*others, INTERNAL], free_ports(len(doors)), strict=True))
    spoken = [f"{name}:{door.protocol}" for name, door in doors.items()]
    mechanisms = sorted({one for door in doors.values() for one in door.mechanisms})
    settings = {
        "listener.security.protocol.map": ",".join([*spoken, f"{INTERNAL}:PLAINTEXT", "CONTROLLER:PLAINTEXT"]),
        "inter.broker.listener.name": INTERNAL,
        "sasl.enabled.mechanisms": ",".join(mechanisms),
    }
    for name, door in doors.items():
        settings |= _settings_of(f"listener.name.{name.lower()}", door, ca)
    if acls:
        settings |= {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }
    scram = [f"{one}=[name={USER},password={PASSWORD}]" for one in mechanisms if one.startswith("SCRAM")]
    return KafkaCluster(folder, settings=settings, door=first, doors=ports, scram=scram)


def _settings_of(name: str, door: Door, ca: Path | None) -> dict[str, str]:
    found = {
        f"{name}.sasl.enabled.mechanisms": ",".join(door.mechanisms),
        f"{name}.plain.sasl.jaas.config": _PLAIN,
        f"{name}.scram-sha-256.sasl.jaas.config": _SCRAM,
        f"{name}.scram-sha-512.sasl.jaas.config": _SCRAM,
    }
    if door.certificate is not None:
        found |= {
            f"{name}.ssl.keystore.type": "PEM",
            f"{name}.ssl.keystore.location": str(door.certificate),
            f"{name}.ssl.truststore.type": "PEM",
            f"{name}.ssl.truststore.location": str(ca),
            f"{name}.ssl.client.auth": "required" if door.mutual else "none",
        }
    return found


def security(protocol: str, mechanism: str = "PLAIN", **more: Any) -> dict[str, Any]:
    """`[kafka.security]` of a client that the cluster lets in."""
    found: dict[str, Any] = {"protocol": protocol, **more}
    if protocol.startswith("SASL"):
        found = {"mechanism": mechanism, "username": USER, "password": PASSWORD, **found}
    return found
