"""Real Kafka with a locked door: certificates of its own authority, passwords, and ACLs.

Each cluster has one broker with two listeners: the secured one, and an internal one without security through which a
test makes ACLs as an administrator.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from tests.clusters import HOST, KafkaCluster, free_ports

USER, PASSWORD = "sidestream", "0042"
"""The password is digits: it has to stay text on every way that it takes."""

_PLAIN = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required "
    f'user_{USER}="{PASSWORD}" user_guest="guest-secret";'
)
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files of an authority, a broker and a client; of another authority, and of a client that has expired."""

    ca: Path
    broker: Path
    client: Path
    stranger: Path
    expired: Path


def make_certificates(folder: Path, *, broker_days: int = 30) -> Certificates:
    """Writes them below `folder`. `broker_days` below 0: the broker's own has expired."""
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
        broker=issued("broker.pem", HOST, not_after=datetime.now(UTC) + timedelta(days=broker_days)),
        client=issued("client.pem", "client.test"),
        stranger=write("stranger.pem", other.cert_pem),
        expired=issued("expired.pem", "expired.test", not_after=past),
    )


def secured_cluster(
    folder: Path,
    protocol: str,
    mechanism: str = "PLAIN",
    *,
    certificates: Certificates | None = None,
    client_auth: str = "none",
    acls: bool = False,
) -> KafkaCluster:
    """A cluster, not yet started, whose `bootstrap_servers` speak `protocol` only."""
    internal = free_ports(1)[0]
    settings = {
        "listener.security.protocol.map": f"DOOR:{protocol},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "INTERNAL",
        "sasl.enabled.mechanisms": mechanism,
        "listener.name.door.sasl.enabled.mechanisms": mechanism,
        "listener.name.door.plain.sasl.jaas.config": _PLAIN,
        "listener.name.door.scram-sha-256.sasl.jaas.config": _SCRAM,
        "listener.name.door.scram-sha-512.sasl.jaas.config": _SCRAM,
    }
    if certificates is not None:
        settings |= {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(certificates.broker),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(certificates.ca),
            "ssl.client.auth": client_auth,
            "listener.name.door.ssl.client.auth": client_auth,
        }
    if acls:
        settings |= {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }
    scram = [f"{mechanism}=[name={USER},password={PASSWORD}]"] if mechanism.startswith("SCRAM") else []
    return KafkaCluster(folder, settings=settings, door="DOOR", internal=internal, scram=scram)


def security(protocol: str, mechanism: str = "PLAIN", **more: Any) -> dict[str, Any]:
    """`[kafka.security]` of a client that the cluster lets in."""
    found: dict[str, Any] = {"protocol": protocol, **more}
    if protocol.startswith("SASL"):
        found = {"mechanism": mechanism, "username": USER, "password": PASSWORD, **found}
    return found
