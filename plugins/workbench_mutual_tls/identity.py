"""Who is at the other end, decided from the certificate of the TLS connection and the remote address alone. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from workbench.contracts import PeerAddress
from workbench.crypto import certificates
from workbench.errors import Denied, VerificationError

ADDRESS_NOT_ALLOWED = "ADDRESS_NOT_ALLOWED"
WRONG_CERTIFICATE = "WRONG_CERTIFICATE"


def is_known_address(address: str, peers: Iterable[PeerAddress]) -> bool:
    """Whether any partner may call from `address`."""
    return any(is_allowed(address, peer.source_addresses) for peer in peers)


def is_allowed(address: str, allowed: Iterable[str]) -> bool:
    """Whether `address` is one of these addresses or lies in one of these networks; text that is none never is."""
    try:
        candidate = _plain(ipaddress.ip_address(address))
        return any(candidate in ipaddress.ip_network(entry) for entry in allowed)
    except ValueError:
        return False


def identify(certificate_der: bytes, address: str, peers: Iterable[PeerAddress]) -> PeerAddress:
    """The partner whose pinned certificate this is, calling from an address that is its own.

    Raises Denied: WRONG_CERTIFICATE or ADDRESS_NOT_ALLOWED.
    """
    try:
        facts = certificates.describe_der(certificate_der)
    except VerificationError as error:
        raise _wrong_certificate() from error
    for peer in peers:
        # Both must name the partner: the pinned fingerprint, and the identity its authority wrote into it.
        if facts.fingerprint == peer.certificate_fingerprint and facts.party == peer.party:
            if not is_allowed(address, peer.source_addresses):
                raise Denied(
                    f"{peer.party} 不得从此地址连接",
                    f"{peer.party} may not call from this address",
                    code=ADDRESS_NOT_ALLOWED,
                )
            return peer
    raise _wrong_certificate()


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An IPv4 address that arrived on an IPv6 socket, as IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _wrong_certificate() -> Denied:
    return Denied(
        "证书不是名单所列的那一张", "the certificate is not the one on the allow-list", code=WRONG_CERTIFICATE
    )
