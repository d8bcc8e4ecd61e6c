"""Security: who a Kafka client says it is and whom it trusts, why a broker would not let it in, and the TLS of workers'
HTTP faces.

May import the rest of `store`. Invariant: nothing else turns `[kafka.security]` into options of clients, and no secret
leaves it in any other way.
"""

from store.security.door import client_options
from store.security.options import SecurityError, async_client_security, client_security, security_of
from store.security.probe import NoServerError, RefusedError, find_server
from store.security.serving_tls import server_context, trust

__all__ = [
    "NoServerError",
    "RefusedError",
    "SecurityError",
    "async_client_security",
    "client_options",
    "client_security",
    "find_server",
    "security_of",
    "server_context",
    "trust",
]
