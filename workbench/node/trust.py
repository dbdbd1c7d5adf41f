"""Which institutions this node talks to, under which certificate, from which addresses: changed by two people only.

The allow-list is not a table that somebody edits; it is the outcome of a chain of changes. Each change was proposed by
one person and approved by another one who saw its digest, names the change before it, and is signed by the node's
contract key. `TrustStore.replay` folds the chain again at every start, so a row altered in the database stops the node.

Everything here is a function of plain values; who stores the changes and writes the evidence is the node's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

from workbench.contracts import PeerAddress
from workbench.crypto import canonical, ed25519, labels, mldsa, sm2, sm3
from workbench.domain.checkpoint import PartyKeys
from workbench.domain.party import PartyId, PersonId, parse_party_id
from workbench.errors import NotFound, Refused, VerificationError
from workbench.node.keys import PublicBundle, check_source_address, parse_bundle

_KIND = "trust-change"
_TRUST_KIND = "trust"
_MAX_SOURCES = 16
_INDEX = re.compile(r"0|[1-9][0-9]{0,15}")


class TrustAction(StrEnum):
    """What a change does. SET_ADDRESSES narrows or moves where a partner may call from, against its bundle."""

    ENROL = "enrol"
    REPLACE = "replace"
    SET_ADDRESSES = "set-addresses"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class TrustProposal:
    """A change one person asks for; nothing happens before another person approves it.

    number: its place in the chain, from 1. bundle: formatted bundle for ENROL and REPLACE, else empty.
    source_addresses: for SET_ADDRESSES, else empty. previous: digest of the change before, "" for the first.
    """

    number: int
    action: TrustAction
    party: PartyId
    bundle: bytes
    source_addresses: tuple[str, ...]
    proposed_by: PersonId
    proposed_at_ms: int
    previous: str

    def digest(self) -> str:
        """SM3 of the proposal, hexadecimal: the approving person confirms exactly this."""
        return sm3.digest(canonical.format(_proposal_fields(self))).hex()


@dataclass(frozen=True, slots=True)
class TrustChange:
    """A proposal approved by a second person and signed by the node's contract key (64 bytes)."""

    proposal: TrustProposal
    approved_by: PersonId
    approved_at_ms: int
    signature: bytes = field(default=b"", repr=False)

    def digest(self) -> str:
        """SM3 of the formatted change, hexadecimal: the next change names it."""
        return sm3.digest(format_change(self)).hex()


@dataclass(frozen=True, slots=True)
class Partner:
    """A trusted partner: its bundle, and the addresses from which it may call."""

    bundle: PublicBundle
    source_addresses: tuple[str, ...]

    def peer_address(self) -> PeerAddress:
        """The partner as a channel wants it, with the addresses this node allows."""
        return replace(self.bundle.peer_address(), source_addresses=self.source_addresses)


@dataclass(frozen=True, slots=True)
class TrustStore:
    """The allow-list at one moment: immutable; every change gives a new one.

    own: this institution's bundle. partners: by party. changes: the chain that led here.
    """

    own: PublicBundle
    partners: Mapping[PartyId, Partner] = field(default_factory=lambda: MappingProxyType({}))
    changes: tuple[TrustChange, ...] = ()

    @classmethod
    def replay(cls, own: PublicBundle, changes: Iterable[bytes]) -> TrustStore:
        """The allow-list that these formatted changes lead to, checked one by one.

        Raises VerificationError when a change was altered, left out, added or moved: the node must not start.
        """
        store = cls(own)
        for data in changes:
            change = parse_change(data)
            if change.proposal.number != store.next_number or change.proposal.previous != store.head:
                raise _broken_chain()
            own.contract_key.verify(_signing_input(own.party, change), change.signature)
            try:
                store = _applied(store, change)
            except Refused as error:
                raise _broken_chain() from error
        return store

    @property
    def head(self) -> str:
        """Digest of the newest change, "" before the first."""
        return self.changes[-1].digest() if self.changes else ""

    @property
    def next_number(self) -> int:
        """The number the next change will have."""
        return len(self.changes) + 1

    def partner(self, party: PartyId) -> Partner:
        """The trusted partner. Raises NotFound."""
        if party not in self.partners:
            raise NotFound(
                f"机构 {party} 不在名单内，请先由两人登记", f"{party} is not on the allow-list; two people enrol it first",
                code="UNKNOWN_PARTNER",
            )  # fmt: skip
        return self.partners[party]

    def former(self) -> Mapping[PartyId, Partner]:
        """Institutions that were removed and not enrolled again, with the bundle trusted last."""
        bundles = {
            one.proposal.party: one.proposal.bundle
            for one in self.changes
            if one.proposal.bundle and one.proposal.party not in self.partners
        }
        return {party: Partner(bundle, ()) for party, data in bundles.items() for bundle in (parse_bundle(data),)}

    def peer_addresses(self) -> tuple[PeerAddress, ...]:
        """All partners as a channel wants them, sorted by party."""
        return tuple(self.partners[party].peer_address() for party in sorted(self.partners))

    def parties(self) -> tuple[PartyId, ...]:
        """This institution and its partners, sorted."""
        return tuple(sorted([*self.partners, self.own.party]))

    def bundles(self) -> tuple[PublicBundle, ...]:
        """The bundles of `parties()`, in that order."""
        return tuple(self.own if party == self.own.party else self.partners[party].bundle for party in self.parties())


def propose_bundle(store: TrustStore, data: bytes, *, by: PersonId, at_ms: int) -> TrustProposal:
    """Ask to trust the bundle in `data`: a new partner, or a newer bundle of a known one.

    Raises VerificationError when the bundle's own signature does not hold; Refused when it is this institution's own,
    older than the one trusted, or claims a key that another party already uses.
    """
    bundle = parse_bundle(data)
    action = TrustAction.REPLACE if bundle.party in store.partners else TrustAction.ENROL
    proposal = _proposal(store, action, bundle.party, by, at_ms, bundle=data)
    _changed_partners(store, proposal)
    return proposal


def propose_addresses(
    store: TrustStore, party: PartyId, source_addresses: Sequence[str], *, by: PersonId, at_ms: int
) -> TrustProposal:
    """Ask to change from where a partner may call. Raises NotFound, or Refused for text that is no address."""
    proposal = _proposal(store, TrustAction.SET_ADDRESSES, party, by, at_ms, source_addresses=tuple(source_addresses))
    _changed_partners(store, proposal)
    return proposal


def propose_removal(store: TrustStore, party: PartyId, *, by: PersonId, at_ms: int) -> TrustProposal:
    """Ask to stop talking to a partner. Raises NotFound."""
    proposal = _proposal(store, TrustAction.REMOVE, party, by, at_ms)
    _changed_partners(store, proposal)
    return proposal


def approve(
    store: TrustStore, proposal: TrustProposal, *, confirmed: str, by: PersonId, at_ms: int, key: sm2.PrivateKey
) -> TrustStore:
    """The allow-list with the proposed change; its last change is the signed record to store.

    confirmed: the proposal's digest as the approving person saw it. key: the contract key of this institution.
    Raises Refused when the same person proposed it, the digest is another, or the list has changed in between.
    """
    if by == proposal.proposed_by:
        raise Refused(
            "名单变更须由另一人批准，不能批准自己的提议", "another person approves a change; not the one who proposed it",
            code="OWN_PROPOSAL",
        )  # fmt: skip
    if confirmed != proposal.digest():
        raise Refused(
            "所确认的内容与提议不符，请重新查看",
            "what was confirmed is not this proposal; look at it again",
            code="DIGEST_DIFFERS",
        )
    if (proposal.number, proposal.previous) != (store.next_number, store.head):
        raise Refused(
            "名单在此期间已变更，请重新提议", "the allow-list has changed since; propose again", code="STALE_PROPOSAL"
        )
    if key.public != store.own.contract_key:
        raise ValueError("changes are signed with this institution's own contract key")
    change = TrustChange(proposal, by, at_ms)
    signed = replace(change, signature=key.sign(_signing_input(store.own.party, change)))
    return _applied(store, signed)


def enrol(
    store: TrustStore, bundle: bytes, *, proposed_by: PersonId, approved_by: PersonId, at_ms: int, key: sm2.PrivateKey
) -> TrustStore:
    """Propose and approve in one go, for `init`, which sets up both people at once; still two different people."""
    proposal = propose_bundle(store, bundle, by=proposed_by, at_ms=at_ms)
    return approve(store, proposal, confirmed=proposal.digest(), by=approved_by, at_ms=at_ms, key=key)


def format_change(change: TrustChange) -> bytes:
    """The change as canonical JSON with its signature."""
    return canonical.format({**_change_fields(change), "signature": change.signature.hex()})


def parse_change(data: bytes) -> TrustChange:
    """The change in `data`; its signature is checked by `TrustStore.replay`. Raises VerificationError."""
    value = canonical.parse_object(data)
    try:
        change = TrustChange(
            _proposal_from(_mapping(value["proposal"])),
            PersonId(_text(value["approved_by"])),
            _whole(value["approved_at_ms"]),
            bytes.fromhex(_text(value["signature"])),
        )
    except (KeyError, ValueError) as error:
        raise _broken_chain() from error
    if format_change(change) != data:
        raise _broken_chain()
    return change


def format_proposal(proposal: TrustProposal) -> bytes:
    """The proposal as canonical JSON, to keep it until somebody decides."""
    return canonical.format(_proposal_fields(proposal))


def parse_proposal(data: bytes) -> TrustProposal:
    """The proposal `format_proposal` wrote. Raises VerificationError."""
    try:
        proposal = _proposal_from(canonical.parse_object(data))
    except (KeyError, ValueError) as error:
        raise _broken_chain() from error
    if format_proposal(proposal) != data:
        raise _broken_chain()
    return proposal


# ------------------------------------------------------------------------------------------ pinned keys


@dataclass(frozen=True, slots=True)
class PinnedKeys:
    """The public keys of one institution that a verifier needs."""

    party: PartyId
    name_zh: str
    name_en: str
    contract_key: sm2.PublicKey
    cosign_ed25519: ed25519.PublicKey
    cosign_sm2: sm2.PublicKey
    cosign_mldsa44: mldsa.PublicKey | None = None
    joined: Mapping[PartyId, int] = field(default_factory=dict)
    left: Mapping[PartyId, int] = field(default_factory=dict)

    def for_notes(self) -> PartyKeys:
        """The co-signing keys as verification wants them."""
        return PartyKeys(
            self.party, self.cosign_ed25519, self.cosign_sm2, self.name_zh, self.name_en, self.cosign_mldsa44,
            self.joined, self.left,
        )  # fmt: skip


def export_trust(bundles: Iterable[PublicBundle], members: Mapping[PartyId, PartyKeys] | None = None) -> bytes:
    """The file for `workbench verify --trust`: pinned keys of every party, canonical JSON (docs/protocols/messages.md).

    members: from which entries on institutions joined or left, as `Ledger.keys` tells (docs/protocols/ledger.md section 7.4).
    """
    changed = {party: one for party, one in (members or {}).items() if one.joined or one.left}
    shown = sorted(bundles, key=lambda bundle: bundle.party)
    parties: list[canonical.Json] = [
        {
            **({} if bundle.cosign_mldsa44 is None else {"cosign_mldsa44": bundle.cosign_mldsa44.format()}),
            **(_places(changed[bundle.party]) if bundle.party in changed else {}),
            "party": bundle.party,
            "name_zh": bundle.name_zh,
            "name_en": bundle.name_en,
            "contract_key": bundle.contract_key.format(),
            "cosign_ed25519": bundle.cosign_ed25519.format(),
            "cosign_sm2": bundle.cosign_sm2.format(),
        }
        for bundle in shown
    ]
    version = 1 if not changed and all(bundle.cosign_mldsa44 is None for bundle in shown) else 2
    return canonical.format({"v": version, "kind": _TRUST_KIND, "parties": parties})


def parse_trust(data: bytes) -> dict[PartyId, PinnedKeys]:
    """The pinned keys in a trust file, by party. A final line feed is allowed. Raises VerificationError."""
    value = canonical.parse_object(data.removesuffix(b"\n"))
    try:
        if value["v"] not in (1, 2) or value["kind"] != _TRUST_KIND or not isinstance(value["parties"], list):
            raise ValueError("not a trust file")
        pinned = [_pinned_from(_mapping(item)) for item in value["parties"]]
        if (value["v"] == 2) is not any(one.cosign_mldsa44 or one.joined or one.left for one in pinned):
            raise ValueError("version 2 is for files with an ML-DSA-44 key or a change of members")
    except (KeyError, ValueError) as error:
        raise _bad_trust_file() from error
    by_party = {keys.party: keys for keys in pinned}
    if not pinned or len(by_party) != len(pinned) or _shares_keys(pinned):
        raise _bad_trust_file()
    return by_party


def _pinned_from(value: Mapping[str, canonical.Json]) -> PinnedKeys:
    return PinnedKeys(
        party=parse_party_id(_text(value["party"])),
        name_zh=_text(value["name_zh"]),
        name_en=_text(value["name_en"]),
        contract_key=sm2.PublicKey.parse(_text(value["contract_key"])),
        cosign_ed25519=ed25519.PublicKey.parse(_text(value["cosign_ed25519"])),
        cosign_sm2=sm2.PublicKey.parse(_text(value["cosign_sm2"])),
        cosign_mldsa44=mldsa.PublicKey.parse(_text(value["cosign_mldsa44"])) if "cosign_mldsa44" in value else None,
        joined=_indices(value.get("joined")),
        left=_indices(value.get("left")),
    )


def _places(keys: PartyKeys) -> dict[str, canonical.Json]:
    """The optional members `joined` and `left`: log -> index as decimal text, only what is not empty."""
    found: dict[str, canonical.Json] = {}
    for name, places in (("joined", keys.joined), ("left", keys.left)):
        if places:
            found[name] = {str(log): str(index) for log, index in places.items()}
    return found


def _indices(value: canonical.Json) -> dict[PartyId, int]:
    """The inverse of `_places` for one member; {} when it is absent. Raises ValueError."""
    if value is None:
        return {}
    texts = {parse_party_id(log): _text(index) for log, index in _mapping(value).items()}
    if not texts or not all(_INDEX.fullmatch(text) for text in texts.values()):
        raise ValueError("indices are decimal text")
    return {log: int(text) for log, text in texts.items()}


def _shares_keys(pinned: Sequence[PinnedKeys]) -> bool:
    """Whether one key stands under two names: then two co-signatures could come from one institution."""
    keys = [key for one in pinned for key in (one.cosign_ed25519.raw, one.cosign_sm2.raw, one.contract_key.raw)]
    keys += [one.cosign_mldsa44.raw for one in pinned if one.cosign_mldsa44 is not None]
    return len(set(keys)) != len(keys)


# ------------------------------------------------------------------------------------------------ rules


def _applied(store: TrustStore, change: TrustChange) -> TrustStore:
    """The store after `change`. Raises Refused or NotFound when the change does not fit it."""
    if change.approved_by == change.proposal.proposed_by:
        raise _broken_chain()
    return TrustStore(store.own, _changed_partners(store, change.proposal), (*store.changes, change))


def _changed_partners(store: TrustStore, proposal: TrustProposal) -> Mapping[PartyId, Partner]:
    partners = dict(store.partners)
    match proposal.action:
        case TrustAction.ENROL | TrustAction.REPLACE:
            bundle = parse_bundle(proposal.bundle)
            _check_new_bundle(store, proposal, bundle)
            partners[bundle.party] = Partner(bundle, bundle.source_addresses)
        case TrustAction.SET_ADDRESSES:
            _check_addresses(proposal.source_addresses)
            partners[proposal.party] = replace(
                store.partner(proposal.party), source_addresses=proposal.source_addresses
            )
        case TrustAction.REMOVE:
            store.partner(proposal.party)
            del partners[proposal.party]
    return MappingProxyType(partners)


def _check_new_bundle(store: TrustStore, proposal: TrustProposal, bundle: PublicBundle) -> None:
    known = store.partners.get(bundle.party)
    if bundle.party != proposal.party or (known is not None) != (proposal.action is TrustAction.REPLACE):
        raise _broken_chain()
    if bundle.party == store.own.party:
        raise Refused("不能把本机构登记为合作方", "an institution is not its own partner", code="OWN_BUNDLE")
    if known is not None and bundle.issued_at_ms <= known.bundle.issued_at_ms:
        raise Refused("资料包不比现有的新", "the bundle is not newer than the one trusted now", code="OLD_BUNDLE")
    others = [store.own, *(partner.bundle for party, partner in store.partners.items() if party != bundle.party)]
    if any(bundle.key_texts() & other.key_texts() for other in others):
        raise Refused(
            "资料包中的密钥已属于另一家机构",
            "a key in the bundle already belongs to another institution",
            code="SHARED_KEY",
        )


def _check_addresses(addresses: Sequence[str]) -> None:
    try:
        for address in addresses:
            check_source_address(address)
    except ValueError as error:
        raise _bad_addresses() from error
    if not 1 <= len(addresses) <= _MAX_SOURCES:
        raise _bad_addresses()


def _proposal(
    store: TrustStore,
    action: TrustAction,
    party: PartyId,
    by: PersonId,
    at_ms: int,
    *,
    bundle: bytes = b"",
    source_addresses: tuple[str, ...] = (),
) -> TrustProposal:
    return TrustProposal(
        number=store.next_number,
        action=action,
        party=party,
        bundle=bundle,
        source_addresses=source_addresses,
        proposed_by=by,
        proposed_at_ms=at_ms,
        previous=store.head,
    )


def _proposal_fields(proposal: TrustProposal) -> dict[str, canonical.Json]:
    return {
        "number": proposal.number,
        "action": proposal.action.value,
        "party": proposal.party,
        "bundle": proposal.bundle.decode("utf-8"),
        "source_addresses": list(proposal.source_addresses),
        "proposed_by": proposal.proposed_by,
        "proposed_at_ms": proposal.proposed_at_ms,
        "previous": proposal.previous,
    }


def _proposal_from(value: Mapping[str, canonical.Json]) -> TrustProposal:
    sources = value["source_addresses"]
    if not isinstance(sources, list):
        raise ValueError("addresses are a list")  # noqa: TRY004 - it is data, not a programming mistake
    return TrustProposal(
        number=_whole(value["number"]),
        action=TrustAction(_text(value["action"])),
        party=parse_party_id(_text(value["party"])),
        bundle=_text(value["bundle"]).encode("utf-8"),
        source_addresses=tuple(_text(item) for item in sources),
        proposed_by=PersonId(_text(value["proposed_by"])),
        proposed_at_ms=_whole(value["proposed_at_ms"]),
        previous=_text(value["previous"]),
    )


def _change_fields(change: TrustChange) -> dict[str, canonical.Json]:
    return {
        "proposal": _proposal_fields(change.proposal),
        "approved_by": change.approved_by,
        "approved_at_ms": change.approved_at_ms,
    }


def _signing_input(own: PartyId, change: TrustChange) -> bytes:
    return labels.signing_input(_KIND, party=own, job="", body=canonical.format(_change_fields(change)))


def _mapping(value: canonical.Json) -> dict[str, canonical.Json]:
    if not isinstance(value, dict):
        raise ValueError("an object is missing")  # noqa: TRY004 - it is data, not a programming mistake
    return value


def _text(value: canonical.Json) -> str:
    if not isinstance(value, str):
        raise ValueError("a text field has another type")  # noqa: TRY004 - it is data, not a programming mistake
    return value


def _whole(value: canonical.Json) -> int:
    if type(value) is not int:
        raise ValueError("a number field has another type")
    return value


def _broken_chain() -> VerificationError:
    return VerificationError(
        "合作方名单的变更记录被改动，节点不能启动", "the record of allow-list changes was altered; the node must not start",
        code="TRUST_CHAIN",
    )  # fmt: skip


def _bad_addresses() -> Refused:
    return Refused(
        "允许的来源地址应为 1 至 16 个 IP 地址或网段",
        "allowed sources are 1 to 16 IP addresses or networks",
        code="BAD_ADDRESS",
    )


def _bad_trust_file() -> VerificationError:
    return VerificationError(
        "信任文件不可读或内容不一致", "the trust file cannot be read or contradicts itself", code="BAD_TRUST_FILE"
    )
