"""TLS settings of both ends: version 1.3 only, certificates on both sides, the partner's own authority only."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence

from workbench.contracts import ChannelIdentity, PeerAddress
from workbench.crypto import certificates
from workbench.errors import VerificationError


def server_context(identity: ChannelIdentity, authorities: Sequence[bytes]) -> ssl.SSLContext:
    """For a listener: a client without a certificate of one of these authorities (PEM) fails the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context, identity)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=_joined(authorities))
    # A resumed session would skip the certificates.
    context.num_tickets = 0
    return context


def client_context(identity: ChannelIdentity, peer: PeerAddress) -> ssl.SSLContext:
    """For a call to one partner: its authority, its host name, and exactly the pinned certificate.

    The pin is checked inside the handshake, before a byte of a request leaves.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context, identity)
    context.load_verify_locations(cadata=_joined([peer.ca_pem]))
    context.sslobject_class = _pinned_object(peer)
    return context


def _harden(context: ssl.SSLContext, identity: ChannelIdentity) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    _load_pair(context, identity)


def _load_pair(context: ssl.SSLContext, identity: ChannelIdentity) -> None:
    """Hand key and certificate to the TLS library, which reads files only, without the key touching a disk."""
    descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(identity.private_key_pem + identity.certificate_pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _pinned_object(peer: PeerAddress) -> type[ssl.SSLObject]:
    class PinnedObject(ssl.SSLObject):
        """A TLS connection that ends in the handshake unless the other side shows the pinned certificate."""

        def do_handshake(self) -> None:
            super().do_handshake()
            try:
                facts = certificates.describe_der(self.getpeercert(binary_form=True) or b"")
            except VerificationError as error:
                raise ssl.SSLCertVerificationError("the certificate cannot be read") from error
            if facts.fingerprint != peer.certificate_fingerprint or facts.party != peer.party:
                raise ssl.SSLCertVerificationError(f"the certificate is not the one pinned for {peer.party}")

    return PinnedObject


def _joined(authorities: Sequence[bytes]) -> str:
    return b"".join(authorities).decode("ascii")
