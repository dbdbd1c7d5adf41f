"""The keys of one institution and the public bundle its partners pin (decisions 3, 19 and 25).

Six key pairs, each for one job: the authority that signs the node's TLS certificate, the TLS key, the SM2 key of
messages, the SM2 key of contracts and bundles, and the Ed25519 and SM2 keys of co-signatures. A seventh, the ML-DSA-44
key of co-signatures, is optional (docs/protocols/ledger.md section 1).

On disk: a folder 0700 with files 0600. `unlock.json` holds a random folder key wrapped under the node's passphrase;
every `<name>.key` is sealed with SM4-GCM under a key derived from it for that name; `public.json` is the bundle and
`certificate.pem` the TLS certificate. The authority's key is not needed to run and may be moved to another place.
"""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from workbench.contracts import ChannelIdentity, PeerAddress
from workbench.crypto import (
    aead,
    canonical,
    certificates,
    ed25519,
    kdf,
    labels,
    mldsa,
    random,
    sm2,
    sm3,
    wrap,
)
from workbench.domain.party import PartyId, parse_party_id
from workbench.errors import KeyUnavailable, VerificationError

_BUNDLE_KIND = "bundle"
_BUNDLE_MAX_BYTES = 16 * 1024
_TEXT_FIELDS = (
    "ca_pem", "certificate_fingerprint", "contract_key", "cosign_ed25519", "cosign_sm2", "host", "kind", "message_key",
    "name_en", "name_zh", "party", "signature",
)  # fmt: skip
_NAME = re.compile(r"[^\x00-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]{1,64}")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_KEY_NAMES = ("authority", "tls", "message", "contract", "cosign-ed25519", "cosign-sm2")
_MLDSA_FIELD = "cosign_mldsa44"
_MLDSA_FILE = "cosign-mldsa44.key"
_MAX_SOURCES = 16


@dataclass(frozen=True, slots=True)
class PublicBundle:
    """Everything a partner needs to talk to an institution and to check what it signs; nothing in it is secret.

    host, port: where its peer API listens. source_addresses: addresses or networks (CIDR) from which it calls.
    certificate_fingerprint: SHA-256 of its TLS certificate, hexadecimal. issued_at_ms: a later bundle replaces an
    earlier one. signature: 64 bytes, SM2 with the contract key over the rest.
    """

    party: PartyId
    name_zh: str
    name_en: str
    host: str
    port: int
    source_addresses: tuple[str, ...]
    certificate_fingerprint: str
    ca_pem: bytes
    message_key: sm2.PublicKey
    contract_key: sm2.PublicKey
    cosign_ed25519: ed25519.PublicKey
    cosign_sm2: sm2.PublicKey
    issued_at_ms: int
    signature: bytes = field(default=b"", repr=False)
    cosign_mldsa44: mldsa.PublicKey | None = None

    def digest(self) -> str:
        """The SM3 digest of the formatted bundle, hexadecimal: what two people compare on two screens."""
        return sm3.digest(format_bundle(self)).hex()

    def key_texts(self) -> frozenset[str]:
        """All public keys as text, to find one key claimed by two parties."""
        sm2_keys = (self.message_key, self.contract_key, self.cosign_sm2)
        texts = {key.format() for key in sm2_keys}
        optional = set() if self.cosign_mldsa44 is None else {self.cosign_mldsa44.format()}
        return frozenset(texts | optional | {self.cosign_ed25519.format(), self.certificate_fingerprint})

    def peer_address(self) -> PeerAddress:
        """The partner as a channel wants it."""
        return PeerAddress(
            party=self.party,
            host=self.host,
            port=self.port,
            source_addresses=self.source_addresses,
            certificate_fingerprint=self.certificate_fingerprint,
            ca_pem=self.ca_pem,
        )


@dataclass(frozen=True, slots=True, repr=False)
class InstitutionKeys:
    """All key pairs of one institution, unlocked, in memory. Shown by party only.

    authority: its private part is empty after `load`; only `renew_certificate` reads it from disk.
    """

    bundle: PublicBundle
    authority: certificates.KeyAndCertificate
    tls: certificates.KeyAndCertificate
    message: sm2.PrivateKey
    contract: sm2.PrivateKey
    cosign_ed25519: ed25519.PrivateKey
    cosign_sm2: sm2.PrivateKey
    cosign_mldsa44: mldsa.PrivateKey | None = None

    @property
    def party(self) -> PartyId:
        """Whose keys these are."""
        return self.bundle.party

    def channel_identity(self) -> ChannelIdentity:
        """What a channel needs to speak for this institution."""
        return ChannelIdentity(
            party=self.party, certificate_pem=self.tls.certificate_pem, private_key_pem=self.tls.private_key_pem
        )

    @classmethod
    def create(
        cls,
        party: PartyId,
        *,
        name_zh: str,
        name_en: str,
        host: str,
        port: int,
        source_addresses: Sequence[str] = (),
        more_hosts: Sequence[str] = (),
        now: datetime,
        source: random.RandomSource = random.SYSTEM,
    ) -> InstitutionKeys:
        """Fresh keys for a new institution.

        host, port: where partners reach its peer API. source_addresses: from where it will call; `host` when empty.
        more_hosts: further names and addresses for the certificate. source: the system's generator outside tests; TLS
        keys always come from the library's own generator. Raises ValueError. Cost: about 0.1 s.
        """
        authority = certificates.make_authority(party, now=now)
        hosts = list(dict.fromkeys([host, *more_hosts]))
        tls = certificates.issue_node_certificate(authority, party=party, hosts=hosts, now=now)
        message, contract, cosign_sm2 = (sm2.generate(source) for _ in range(3))
        cosign_ed25519 = ed25519.generate(source)
        unsigned = PublicBundle(
            party=parse_party_id(party),
            name_zh=name_zh,
            name_en=name_en,
            host=host,
            port=port,
            source_addresses=tuple(source_addresses) or (host,),
            certificate_fingerprint=certificates.describe(tls.certificate_pem).fingerprint,
            ca_pem=authority.certificate_pem,
            message_key=message.public,
            contract_key=contract.public,
            cosign_ed25519=cosign_ed25519.public,
            cosign_sm2=cosign_sm2.public,
            issued_at_ms=_ms(now),
        )
        return cls(
            bundle=_sign_bundle(unsigned, contract),
            authority=authority,
            tls=tls,
            message=message,
            contract=contract,
            cosign_ed25519=cosign_ed25519,
            cosign_sm2=cosign_sm2,
        )

    def with_address(
        self, *, host: str, port: int, source_addresses: Sequence[str] = (), now: datetime
    ) -> InstitutionKeys:
        """The same keys under another address, with a newly signed bundle; the certificate must already name `host`."""
        if host not in certificates.describe(self.tls.certificate_pem).hosts:
            raise ValueError("the TLS certificate does not name this host; renew it first")
        moved = replace(
            self.bundle,
            host=host,
            port=port,
            source_addresses=tuple(source_addresses) or (host,),
            issued_at_ms=max(_ms(now), self.bundle.issued_at_ms + 1),
        )
        return replace(self, bundle=_sign_bundle(moved, self.contract))

    def __repr__(self) -> str:
        return f"InstitutionKeys({self.party})"


def save(keys: InstitutionKeys, folder: Path, passphrase: str, *, source: random.RandomSource = random.SYSTEM) -> None:
    """Write all keys into a new folder (0700, files 0600), private parts sealed under `passphrase`.

    Raises FileExistsError when a key already lies there: keys are never overwritten. Cost: about 0.2 s.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    if any(folder.iterdir()):
        raise FileExistsError(f"the key folder of {keys.party} is not empty")
    folder_key = source(32)
    secrets = {
        "authority": keys.authority.private_key_pem,
        "tls": keys.tls.private_key_pem,
        "message": keys.message.secret_bytes(),
        "contract": keys.contract.secret_bytes(),
        "cosign-ed25519": keys.cosign_ed25519.secret_bytes(),
        "cosign-sm2": keys.cosign_sm2.secret_bytes(),
    }
    _write(folder / "unlock.json", wrap.wrap(folder_key, passphrase, purpose=_purpose(keys.party), source=source))
    for name in _KEY_NAMES:
        _write(folder / f"{name}.key", _seal(folder_key, keys.party, name, secrets[name], source))
    if keys.cosign_mldsa44 is not None:
        third = keys.cosign_mldsa44.secret_bytes()
        _write(folder / _MLDSA_FILE, _seal(folder_key, keys.party, "cosign-mldsa44", third, source))
    _write(folder / "certificate.pem", keys.tls.certificate_pem)
    # Last, because a folder without the bundle is not complete and does not load.
    _write(folder / "public.json", format_bundle(keys.bundle))
    _sync_folder(folder)


def load(folder: Path, passphrase: str) -> InstitutionKeys:
    """The keys `save` wrote, all but the authority's private part.

    Raises KeyUnavailable: missing, locked, altered, not belonging together, or readable by somebody else.
    Cost: about 0.3 s.
    """
    _check_permissions(folder)
    try:
        bundle = load_bundle(folder)
        folder_key = wrap.unwrap((folder / "unlock.json").read_bytes(), passphrase, purpose=_purpose(bundle.party))

        def secret(name: str) -> bytes:
            return _unseal(folder_key, bundle.party, name, (folder / f"{name}.key").read_bytes())

        keys = InstitutionKeys(
            bundle=bundle,
            authority=certificates.KeyAndCertificate(b"", bundle.ca_pem),
            tls=certificates.KeyAndCertificate(secret("tls"), (folder / "certificate.pem").read_bytes()),
            message=sm2.PrivateKey.parse(secret("message")),
            contract=sm2.PrivateKey.parse(secret("contract")),
            cosign_ed25519=ed25519.PrivateKey.parse(secret("cosign-ed25519")),
            cosign_sm2=sm2.PrivateKey.parse(secret("cosign-sm2")),
            cosign_mldsa44=mldsa.PrivateKey.parse(secret("cosign-mldsa44")) if bundle.cosign_mldsa44 else None,
        )
        _check_belongs_together(keys)
    except (OSError, ValueError, VerificationError) as error:
        raise _unusable("密钥目录缺文件或内容被改动", "a file of the key folder is missing or altered") from error
    return keys


def load_bundle(folder: Path) -> PublicBundle:
    """The public bundle in a key folder; needs no passphrase. Raises VerificationError, OSError."""
    return parse_bundle((folder / "public.json").read_bytes())


def replace_bundle(keys: InstitutionKeys, folder: Path) -> None:
    """Put the bundle of `keys` in the place of the stored one, after `with_address`."""
    _replace(folder / "public.json", format_bundle(keys.bundle))


def renew_certificate(
    keys: InstitutionKeys, folder: Path, passphrase: str, *, hosts: Sequence[str], now: datetime,
    source: random.RandomSource = random.SYSTEM,
) -> InstitutionKeys:  # fmt: skip
    """A new TLS key and certificate from the same authority, stored, with a newly signed bundle for the partners.

    Partners pin the old certificate until they have approved the new bundle. Raises KeyUnavailable.
    """
    try:
        folder_key = wrap.unwrap((folder / "unlock.json").read_bytes(), passphrase, purpose=_purpose(keys.party))
        authority_pem = _unseal(folder_key, keys.party, "authority", (folder / "authority.key").read_bytes())
    except (OSError, VerificationError) as error:
        raise _unusable("签发机构的私钥不在此处", "the authority's private key is not here") from error
    authority = certificates.KeyAndCertificate(authority_pem, keys.bundle.ca_pem)
    tls = certificates.issue_node_certificate(authority, party=keys.party, hosts=hosts, now=now)
    bundle = replace(
        keys.bundle,
        host=keys.bundle.host if keys.bundle.host in hosts else hosts[0],
        certificate_fingerprint=certificates.describe(tls.certificate_pem).fingerprint,
        issued_at_ms=max(_ms(now), keys.bundle.issued_at_ms + 1),
    )
    renewed = replace(keys, tls=tls, bundle=_sign_bundle(bundle, keys.contract))
    _replace(folder / "tls.key", _seal(folder_key, keys.party, "tls", tls.private_key_pem, source))
    _replace(folder / "certificate.pem", tls.certificate_pem)
    replace_bundle(renewed, folder)
    return renewed


def add_mldsa(
    keys: InstitutionKeys, folder: Path, passphrase: str, *, now: datetime, source: random.RandomSource = random.SYSTEM
) -> InstitutionKeys:
    """The keys with an ML-DSA-44 co-signing key, made and stored here if there is none, and a bundle that names it.

    Partners verify its lines once they have pinned the new bundle. A crash in between leaves a key file that no bundle
    names; it is replaced. Raises KeyUnavailable.
    """
    if keys.cosign_mldsa44 is not None:
        return keys
    try:
        folder_key = wrap.unwrap((folder / "unlock.json").read_bytes(), passphrase, purpose=_purpose(keys.party))
    except (OSError, VerificationError) as error:
        raise _unusable("密钥目录缺文件或口令不对", "a file of the key folder is missing or the passphrase is wrong") from error
    made = mldsa.generate(source)
    bundle = replace(
        keys.bundle, cosign_mldsa44=made.public, issued_at_ms=max(_ms(now), keys.bundle.issued_at_ms + 1)
    )
    grown = replace(keys, cosign_mldsa44=made, bundle=_sign_bundle(bundle, keys.contract))
    _replace(folder / _MLDSA_FILE, _seal(folder_key, keys.party, "cosign-mldsa44", made.secret_bytes(), source))
    replace_bundle(grown, folder)
    return grown


def change_passphrase(
    folder: Path, party: PartyId, *, old: str, new: str, source: random.RandomSource = random.SYSTEM
) -> None:
    """Wrap the folder key under another passphrase; no key changes. Raises KeyUnavailable."""
    folder_key = wrap.unwrap((folder / "unlock.json").read_bytes(), old, purpose=_purpose(party))
    _replace(folder / "unlock.json", wrap.wrap(folder_key, new, purpose=_purpose(party), source=source))


def format_bundle(bundle: PublicBundle) -> bytes:
    """The bundle as canonical JSON with its signature."""
    return canonical.format({**_bundle_fields(bundle), "signature": bundle.signature.hex()})


def parse_bundle(data: bytes) -> PublicBundle:
    """The bundle in `data`, its own signature checked; whether to trust it is decided elsewhere, by two people.

    Raises VerificationError for any other spelling, a field out of range, or a signature that does not verify.
    """
    if len(data) > _BUNDLE_MAX_BYTES:
        raise _bad_bundle()
    value = canonical.parse_object(data)
    try:
        bundle = _bundle_from(value)
    except (KeyError, ValueError) as error:
        raise _bad_bundle() from error
    bundle.contract_key.verify(_bundle_signing_input(bundle), bundle.signature)
    if not certificates.describe(bundle.ca_pem).is_authority or format_bundle(bundle) != data:
        raise _bad_bundle()
    return bundle


def check_source_address(text: str) -> str:
    """`text` if it is an IP address or a network in CIDR form. Raises ValueError."""
    ipaddress.ip_network(text)
    return text


def _bundle_fields(bundle: PublicBundle) -> dict[str, canonical.Json]:
    optional = {} if bundle.cosign_mldsa44 is None else {_MLDSA_FIELD: bundle.cosign_mldsa44.format()}
    return {
        **optional,
        "v": 2 if optional else 1,
        "kind": _BUNDLE_KIND,
        "party": bundle.party,
        "name_zh": bundle.name_zh,
        "name_en": bundle.name_en,
        "host": bundle.host,
        "port": bundle.port,
        "source_addresses": list(bundle.source_addresses),
        "certificate_fingerprint": bundle.certificate_fingerprint,
        "ca_pem": bundle.ca_pem.decode("ascii"),
        "message_key": bundle.message_key.format(),
        "contract_key": bundle.contract_key.format(),
        "cosign_ed25519": bundle.cosign_ed25519.format(),
        "cosign_sm2": bundle.cosign_sm2.format(),
        "issued_at_ms": bundle.issued_at_ms,
    }


def _bundle_from(value: dict[str, canonical.Json]) -> PublicBundle:
    """The bundle with these fields; ValueError or KeyError for anything unexpected."""
    text = {name: _text(value[name]) for name in _TEXT_FIELDS}
    port, issued, sources = value["port"], value["issued_at_ms"], value["source_addresses"]
    optional = {_MLDSA_FIELD} if value["v"] == 2 else set()
    if set(value) != {*_TEXT_FIELDS, *optional, "v", "port", "source_addresses", "issued_at_ms"} or value["v"] not in (1, 2):
        raise ValueError("unknown fields or version")
    if type(port) is not int or type(issued) is not int or not isinstance(sources, list) or issued < 0:
        raise ValueError("a field has another type")
    if text["kind"] != _BUNDLE_KIND or not _FINGERPRINT.fullmatch(text["certificate_fingerprint"]):
        raise ValueError("not a bundle")
    bundle = PublicBundle(
        party=parse_party_id(text["party"]),
        name_zh=text["name_zh"],
        name_en=text["name_en"],
        host=text["host"],
        port=port,
        source_addresses=tuple(_text(item) for item in sources),
        certificate_fingerprint=text["certificate_fingerprint"],
        ca_pem=text["ca_pem"].encode("ascii"),
        message_key=sm2.PublicKey.parse(text["message_key"]),
        contract_key=sm2.PublicKey.parse(text["contract_key"]),
        cosign_ed25519=ed25519.PublicKey.parse(text["cosign_ed25519"]),
        cosign_sm2=sm2.PublicKey.parse(text["cosign_sm2"]),
        issued_at_ms=issued,
        signature=bytes.fromhex(text["signature"]),
        cosign_mldsa44=mldsa.PublicKey.parse(_text(value[_MLDSA_FIELD])) if optional else None,
    )
    _check_bundle(bundle)
    return bundle


def _check_bundle(bundle: PublicBundle) -> None:
    """Raise ValueError for a field out of range or one key doing two jobs."""
    if not (_NAME.fullmatch(bundle.name_zh) and _NAME.fullmatch(bundle.name_en)):
        raise ValueError("a display name has 1 to 64 visible characters")
    if not _HOST.fullmatch(bundle.host) or not 1 <= bundle.port <= 65535:
        raise ValueError("the address of the peer API is not a host and a port")
    if not 1 <= len(bundle.source_addresses) <= _MAX_SOURCES:
        raise ValueError("an institution calls from 1 to 16 addresses or networks")
    for source in bundle.source_addresses:
        check_source_address(source)
    if len(bundle.key_texts()) != (5 if bundle.cosign_mldsa44 is None else 6):
        raise ValueError("one key does two jobs")


def _sign_bundle(bundle: PublicBundle, key: sm2.PrivateKey) -> PublicBundle:
    _check_bundle(bundle)
    return replace(bundle, signature=key.sign(_bundle_signing_input(bundle)))


def _bundle_signing_input(bundle: PublicBundle) -> bytes:
    return labels.signing_input(_BUNDLE_KIND, party=bundle.party, job="", body=canonical.format(_bundle_fields(bundle)))


def _check_belongs_together(keys: InstitutionKeys) -> None:
    """Raise VerificationError unless every private key is the one whose public part the bundle states."""
    bundle = keys.bundle
    facts = certificates.describe(keys.tls.certificate_pem)
    certificates.verify_issued(keys.tls.certificate_pem, bundle.ca_pem)
    same = (
        keys.message.public == bundle.message_key
        and keys.contract.public == bundle.contract_key
        and keys.cosign_ed25519.public == bundle.cosign_ed25519
        and keys.cosign_sm2.public == bundle.cosign_sm2
        and (None if keys.cosign_mldsa44 is None else keys.cosign_mldsa44.public) == bundle.cosign_mldsa44
        and facts.fingerprint == bundle.certificate_fingerprint
        and facts.party == bundle.party
        and certificates.key_matches(keys.tls)
    )
    if not same:
        raise _bad_bundle()


def _check_permissions(folder: Path) -> None:
    """Raise KeyUnavailable when the folder or a file in it is open to anybody but its owner, or owned by another."""
    try:
        paths = [folder, *folder.iterdir()]
        for path in paths:
            state = path.lstat()
            if stat.S_ISLNK(state.st_mode) or state.st_mode & 0o077 or state.st_uid != os.geteuid():
                raise _unusable(
                    f"密钥目录中的 {path.name} 可被他人读取，请改为仅属主可读（目录 0700、文件 0600）",
                    f"{path.name} in the key folder is open to others; make it 0700 (folder) and 0600 (files)",
                )
    except OSError as error:
        raise _unusable("密钥目录不存在或不可读", "the key folder does not exist or cannot be read") from error


def _seal(folder_key: bytes, party: PartyId, name: str, secret: bytes, source: random.RandomSource) -> bytes:
    key = kdf.expand(folder_key, "keys/" + name, length=aead.KEY_SIZE)
    return aead.seal_random(key, secret, associated=f"{party}/{name}".encode("ascii"), source=source)


def _unseal(folder_key: bytes, party: PartyId, name: str, sealed: bytes) -> bytes:
    key = kdf.expand(folder_key, "keys/" + name, length=aead.KEY_SIZE)
    return aead.open_random(key, sealed, associated=f"{party}/{name}".encode("ascii"))


def _write(path: Path, data: bytes) -> None:
    """Create the file 0600 and bring it to disk; FileExistsError when it is there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _replace(path: Path, data: bytes) -> None:
    """Put `data` in the place of the file at once: a crash leaves the old or the new one."""
    fresh = path.with_suffix(path.suffix + ".new")
    fresh.unlink(missing_ok=True)
    _write(fresh, data)
    fresh.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _text(value: canonical.Json) -> str:
    if not isinstance(value, str):
        raise ValueError("a text field has another type")  # noqa: TRY004 - it is data, not a programming mistake
    return value


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _purpose(party: PartyId) -> str:
    return f"institution-keys:{party}"


def _bad_bundle() -> VerificationError:
    return VerificationError(
        "公开资料包不完整、字段越界或签名不符",
        "the public bundle is incomplete, out of range or not signed",
        code="BAD_BUNDLE",
    )


def _unusable(zh: str, en: str) -> KeyUnavailable:
    return KeyUnavailable(f"{zh}；节点不能启动", f"{en}; the node cannot start", code="KEYS_UNUSABLE")
