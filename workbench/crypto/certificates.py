"""X.509 certificates for TLS between institutions: P-256, one small authority per institution, one node certificate.

A node certificate names its institution as the URI `workbench:party:<id>` and carries the host names and addresses under
which the node is reached. Partners pin its SHA-256 fingerprint as well, so an authority of one institution cannot vouch
for another one. P-256 because Python's ssl module knows no SM2 certificates; messages inside TLS carry SM2 signatures.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from workbench.errors import VerificationError

URI_PREFIX = "workbench:party:"
AUTHORITY_DAYS = 3650
NODE_DAYS = 730
# Clocks of two institutions may differ by seconds (decision 15); a fresh certificate must not look unborn.
_BACKDATE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class KeyAndCertificate:
    """A private key (PKCS #8 PEM, not encrypted: wrap it before it reaches a disk) and its certificate (PEM)."""

    private_key_pem: bytes = field(repr=False)
    certificate_pem: bytes


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What others need to know of a certificate.

    fingerprint: SHA-256 of the DER form, 64 lower-case hexadecimal digits. party: from the URI, "" if there is none.
    hosts: host names and addresses, in the certificate's order. uris: all URIs of the alternative names.
    """

    fingerprint: str
    party: str
    hosts: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    is_authority: bool
    uris: tuple[str, ...] = ()


def make_authority(party: str, *, now: datetime) -> KeyAndCertificate:
    """A self-signed authority of one institution, for ten years, that may sign node certificates only."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"{party} authority")
    certificate = (
        _builder(name, name, key.public_key(), now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return KeyAndCertificate(_private_pem(key), certificate.public_bytes(serialization.Encoding.PEM))


def issue_node_certificate(
    authority: KeyAndCertificate, *, party: str, hosts: Sequence[str], now: datetime
) -> KeyAndCertificate:
    """A fresh key and a certificate for the node of `party`, for two years, good for both ends of a connection.

    hosts: host names and IP addresses under which partners reach the node; at least one. Raises ValueError.
    """
    if not hosts:
        raise ValueError("a node certificate names at least one host")
    return issue_certificate(authority, name=party, uri=URI_PREFIX + party, hosts=hosts, now=now)


def issue_certificate(
    authority: KeyAndCertificate, *, name: str, uri: str, hosts: Sequence[str] = (), now: datetime
) -> KeyAndCertificate:
    """A fresh key and a certificate for whom `uri` names, for two years, good for both ends of a connection.

    name: the common name, for people. hosts: as for a node; none for who only calls.
    """
    issuer_key = _load_private(authority.private_key_pem)
    issuer = x509.load_pem_x509_certificate(authority.certificate_pem)
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)]
    names += [_general_name(host) for host in hosts]
    certificate = (
        _builder(_name(name), issuer.subject, key.public_key(), now, NODE_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return KeyAndCertificate(_private_pem(key), certificate.public_bytes(serialization.Encoding.PEM))


def describe(certificate_pem: bytes) -> CertificateFacts:
    """The facts of a PEM certificate. Raises VerificationError for anything else."""
    return describe_der(_load(certificate_pem).public_bytes(serialization.Encoding.DER))


@lru_cache(maxsize=64)
def describe_der(certificate_der: bytes) -> CertificateFacts:
    """The facts of a DER certificate, as TLS hands it over. Raises VerificationError for anything else.

    Asked for at every request of a partner: the last ones are remembered. Cost: 0.4 ms the first time.
    """
    try:
        certificate = x509.load_der_x509_certificate(certificate_der)
        uris, hosts = _alternative_names(certificate)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (ValueError, UnsupportedAlgorithm, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise _bad_certificate() from error
    named = [uri.removeprefix(URI_PREFIX) for uri in uris if uri.startswith(URI_PREFIX)]
    return CertificateFacts(
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        # Two identities in one certificate are none.
        party=named[0] if len(named) == 1 else "",
        hosts=hosts,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        is_authority=constraints.ca,
        uris=tuple(uris),
    )


def verify_issued(certificate_pem: bytes, authority_pem: bytes) -> None:
    """Return if the authority signed the certificate and is itself a self-signed authority. Raises VerificationError."""
    certificate, authority = _load(certificate_pem), _load(authority_pem)
    if not describe(authority_pem).is_authority or describe(certificate_pem).is_authority:
        raise _bad_certificate()
    try:
        authority.verify_directly_issued_by(authority)
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise _bad_certificate() from error


def key_matches(pair: KeyAndCertificate) -> bool:
    """Whether the private key belongs to the certificate."""
    key = _load_private(pair.private_key_pem).public_key()
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(encoding, form) == _load(pair.certificate_pem).public_key().public_bytes(encoding, form)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    start = now.astimezone(UTC).replace(microsecond=0) - _BACKDATE
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative_names(certificate: x509.Certificate) -> tuple[list[str], tuple[str, ...]]:
    """URIs, and host names with addresses; both empty where the extension is missing, as in an authority."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [], ()
    hosts = tuple(str(name.value) for name in names if isinstance(name, x509.IPAddress | x509.DNSName))
    return names.get_values_for_type(x509.UniformResourceIdentifier), hosts


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_private(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("TLS keys of this product are elliptic-curve keys")  # noqa: TRY004 - it is data, not a type
    return key


def _load(pem: bytes) -> x509.Certificate:
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise _bad_certificate() from error
    # One spelling only: the text around the base64 is read leniently by the library.
    if len(certificates) != 1 or certificates[0].public_bytes(serialization.Encoding.PEM) != pem:
        raise _bad_certificate()
    return certificates[0]


def _bad_certificate() -> VerificationError:
    return VerificationError(
        "证书不可读，或不是由所称机构签发",
        "the certificate cannot be read or was not issued by the named authority",
        code="BAD_CERTIFICATE",
    )
