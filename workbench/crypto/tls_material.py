"""Certificates and keys in the form that pyOpenSSL takes; for `workbench.channel.tls_groups`."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def load_certificate(pem: bytes) -> x509.Certificate:
    """The certificate in `pem`. Raises ValueError."""
    return x509.load_pem_x509_certificate(pem)


def load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """The elliptic-curve key in `pem`, not encrypted. Raises ValueError for anything else."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise ValueError("the key is encrypted") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("a link takes an elliptic-curve key")  # noqa: TRY004 - it is data, not a programming mistake
    return key


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER form, 64 lower-case hexadecimal digits, as partners pin it."""
    return certificate.fingerprint(hashes.SHA256()).hex()
