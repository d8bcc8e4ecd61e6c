"""TLS of a worker's HTTP face: what it shows, and what those who ask it trust.

Invariant: a certificate that cannot serve is refused at the start, by the name of its setting; no one who asks trusts a
face because its certificate could not be checked.
"""

from __future__ import annotations

import ssl

from store.security.options import SecurityError, trusting
from store.settings import Tls


def server_context(tls: Tls) -> ssl.SSLContext | None:
    """What a face shows; None without a certificate. Raises `SecurityError`."""
    if not tls.certificate_file:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    names = f"serving.tls.certificate_file {tls.certificate_file} and key_file {tls.key_file or tls.certificate_file}"
    try:
        context.load_cert_chain(tls.certificate_file, tls.key_file or None, password=_no_password)
    except ssl.SSLError as error:
        raise SecurityError(
            f"{names} cannot be used ({error.reason}): give a certificate and its key, in PEM form, without a password"
        ) from None
    except (OSError, ValueError) as error:
        raise SecurityError(f"{names} cannot be read: {error}") from None
    return context


def trust(tls: Tls) -> ssl.SSLContext:
    """Whom those trust who ask a face: this machine's authorities, or those in `ca_file`. Raises `SecurityError`."""
    return trusting(tls.ca_file, "serving.tls.ca_file")


def _no_password() -> str:
    """Else OpenSSL would ask for one at the terminal, and wait."""
    raise ValueError("the key is encrypted")
