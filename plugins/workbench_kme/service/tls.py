"""TLS between SAEs, node and KMEs: version 1.3, certificates on both ends, identity from the connection alone."""

from __future__ import annotations

import hashlib
import os
import re
import ssl
from collections.abc import Sequence
from pathlib import Path

from workbench.crypto import certificates
from workbench.errors import VerificationError
from workbench_kme.service.config import KME_URI, NODE_URI, SAE_URI


def server_context(certificate_pem: bytes, private_key_pem: bytes, authorities: Sequence[bytes]) -> ssl.SSLContext:
    """For a listener: a client without a certificate of one of these authorities (PEM) fails the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context, certificate_pem, private_key_pem, authorities)
    context.verify_mode = ssl.CERT_REQUIRED
    # A resumed session would skip the certificates.
    context.num_tickets = 0
    return context


def client_context(
    certificate_pem: bytes, private_key_pem: bytes, authority: bytes, *, kme: str, fingerprint: str = ""
) -> ssl.SSLContext:
    """For calls to one KME: its authority, its host name, its id, and its fingerprint where one is pinned.

    Id and pin are checked inside the handshake, before a byte of a request leaves.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context, certificate_pem, private_key_pem, [authority])
    context.sslsocket_class = _expecting(kme, fingerprint)
    return context


def foreign_context(certificate_pem: bytes, private_key_pem: bytes, authority: bytes, *, fingerprint: str) -> ssl.SSLContext:
    """For calls to a KME of another make, which has none of our ids: its authority, and exactly the pinned certificate.

    fingerprint: SHA-256 of its certificate, 64 hexadecimal digits; compared inside the handshake, in place of id and host
    name. TLS 1.2 is taken as well, as ETSI GS QKD 014 allows, with forward secrecy and AEAD only; and certificates that
    leave out what RFC 5280 asks for besides, for they are pinned.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", fingerprint):
        raise ValueError("a fingerprint has 64 small hexadecimal digits")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context, certificate_pem, private_key_pem, [authority])
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.check_hostname = False
    context.sslsocket_class = _expecting("", fingerprint)
    return context


def identity(certificate_der: bytes) -> tuple[str, str, str]:
    """(kind, id, fingerprint) of a certificate: kind is `kme`, `sae`, `node`, or "" when it names none or several."""
    try:
        facts = certificates.describe_der(certificate_der)
    except VerificationError:
        return "", "", ""
    forms = ((KME_URI, "kme"), (SAE_URI, "sae"), (NODE_URI, "node"))
    named = [(kind, uri.removeprefix(start)) for uri in facts.uris for start, kind in forms if uri.startswith(start)]
    return (*named[0], facts.fingerprint) if len(named) == 1 else ("", "", facts.fingerprint)


def read_pair(certificate: Path, private_key: Path) -> tuple[bytes, bytes]:
    """Certificate and key of a client as they lie in `clients/`."""
    return certificate.read_bytes(), private_key.read_bytes()


def _harden(
    context: ssl.SSLContext, certificate_pem: bytes, private_key_pem: bytes, authorities: Sequence[bytes]
) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cadata=b"".join(authorities).decode("ascii"))
    # The TLS library reads files only; this one is memory, so that the key does not touch a disk.
    descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(private_key_pem + certificate_pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _expecting(kme: str, fingerprint: str) -> type[ssl.SSLSocket]:
    """kme: id, "" for a KME of another make, which is its pinned certificate."""

    class ExpectingSocket(ssl.SSLSocket):
        """A TLS connection that ends in the handshake unless the other side is this KME."""

        def do_handshake(self, block: bool = False) -> None:
            super().do_handshake(block)
            certificate = self.getpeercert(binary_form=True) or b""
            if fingerprint and hashlib.sha256(certificate).hexdigest() != fingerprint:
                raise ssl.SSLCertVerificationError(f"the certificate is not the pinned one of KME {kme}")
            if kme and identity(certificate)[:2] != ("kme", kme):
                raise ssl.SSLCertVerificationError(f"the certificate is not that of KME {kme}")
            if not kme and not fingerprint:
                raise ssl.SSLCertVerificationError("nothing says whose certificate is expected")

    return ExpectingSocket
