"""Three institutions with real databases in one process, and the links between them as plain function calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from workbench_ledger.ledger import Ledger
from workbench_ledger.schema import MIGRATIONS

from workbench.contracts import Transaction
from workbench.crypto import ed25519, mldsa, sm2
from workbench.crypto.random import SeededSource
from workbench.domain.checkpoint import PartyKeys
from workbench.domain.envelope import Opening, build_envelope
from workbench.domain.evidence import EntryRef, EvidenceKind, Field, Visibility
from workbench.domain.party import PartyId
from workbench.store.database import Database

BROKER, CARDNET, BANK = PartyId("broker"), PartyId("cardnet"), PartyId("bank")
PARTIES = (BANK, BROKER, CARDNET)
JOB = "J-20261121-0a1b2c3d"
NOW_MS = 1_795_000_000_000

RELEASED = EvidenceKind(
    "intersection.released",
    (
        Field("partner", Visibility.SHARED, "对方", "partner"),
        Field("key_kind", Visibility.SHARED, "键", "key"),
        Field("note", Visibility.SHARED, "说明", "note"),
        Field("list_digest", Visibility.COMMITTED, "摘要", "digest"),
        Field("list_key", Visibility.COMMITTED, "密钥", "key of the digest"),
        Field("count", Visibility.COMMITTED, "人数", "customers"),
    ),
    "已放行",
    "released",
)

EXPORTED = EvidenceKind(
    "intersection.exported",
    (
        Field("key_kind", Visibility.SHARED, "键", "key"),
        Field("list_digest", Visibility.COMMITTED, "摘要", "digest"),
        Field("list_key", Visibility.COMMITTED, "密钥", "key of the digest"),
        Field("file_sm3", Visibility.COMMITTED, "文件", "file"),
    ),
    "已导出",
    "exported",
)


@dataclass(frozen=True)
class Keys:
    """Co-signing keys of one institution."""

    ed25519: ed25519.PrivateKey
    sm2: sm2.PrivateKey
    mldsa44: mldsa.PrivateKey | None = None


def make_keys(party: PartyId) -> Keys:
    source = SeededSource(b"keys of " + party.encode())
    return Keys(ed25519.generate(source), sm2.generate(source))


KEYS = {party: make_keys(party) for party in PARTIES}
PINNED = {party: PartyKeys(party, keys.ed25519.public, keys.sm2.public) for party, keys in KEYS.items()}


@dataclass
class Node:
    """One institution: its database file and its ledger. recorded: evidence its ledger asked to be written."""

    party: PartyId
    path: Path
    keys: Keys
    now_ms: int = NOW_MS
    recorded: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    openings: dict[int, dict[str, Opening]] = field(default_factory=dict)
    store: Database = field(init=False)
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.salts = SeededSource(b"salts of " + self.party.encode())
        self.open()

    def open(self) -> None:
        self.store = Database(self.path, MIGRATIONS, reserve_bytes=0)
        self.ledger = Ledger(
            self.store, self.party, self.keys, lambda: PINNED, lambda: self.now_ms, record=self._record
        )

    def _record(self, tx: Transaction, kind: str, values: object) -> None:
        self.recorded.append((kind, dict(values)))  # type: ignore[call-overload]  # a mapping of strings

    def body(self, number: int, *, partner: str = "bank", note: str = "") -> tuple[bytes, dict[str, Opening]]:
        values = {
            "partner": partner,
            "key_kind": "phone",
            "note": note or f"step {number}",
            "list_digest": "00" * 32,
            "list_key": "11" * 32,
            "count": str(number),
        }
        return self.envelope(values)

    def export(self, digest: bytes, key: bytes, file_sm3: str) -> tuple[bytes, dict[str, Opening]]:
        """An entry that vouches for a list, and with file_sm3 for a whole file."""
        values = {"key_kind": "phone", "list_digest": digest.hex(), "list_key": key.hex(), "file_sm3": file_sm3}
        return build_envelope(
            EXPORTED, values, time_ms=self.now_ms, log=self.party, job=JOB, actor="P-1", refs=(), salts=self.salts
        )

    def envelope(self, values: dict[str, str]) -> tuple[bytes, dict[str, Opening]]:
        return build_envelope(
            RELEASED,
            values,
            time_ms=self.now_ms,
            log=self.party,
            job=JOB,
            actor="P-1",
            refs=(),
            salts=self.salts,
        )

    def write(self, count: int, *, partner: str = "bank", note: str = "") -> list[EntryRef]:
        """Append `count` entries in one transaction."""
        start = self.ledger.size(self.party)
        made = [self.body(start + offset, partner=partner, note=note) for offset in range(count)]
        refs = self.store.write(lambda tx: self.ledger.append(tx, [body for body, _ in made]))
        for ref, (_, openings) in zip(refs, made, strict=True):
            self.openings[ref.index] = openings
        return refs

    def append(self, body: bytes, openings: dict[str, Opening]) -> EntryRef:
        """One entry in a transaction of its own; its openings are kept."""
        ref = self.store.write(lambda tx: self.ledger.append(tx, [body]))[0]
        self.openings[ref.index] = openings
        return ref

    def close(self) -> None:
        self.store.close()


class World:
    """All nodes by party, and rounds of co-signing between them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.nodes = {party: Node(party, folder / f"{party}.db", KEYS[party]) for party in PARTIES}
        self.broker, self.cardnet, self.bank = (self.nodes[party] for party in (BROKER, CARDNET, BANK))

    def exchange(self, origin: PartyId, witness: PartyId, *, limit: int = 200) -> int:
        """Requests of one log to one mirror until nothing is left to send; the number of requests."""
        for count in range(limit):
            request = self.nodes[origin].ledger.next_request(witness)
            if request is None:
                return count
            reply = self.nodes[witness].ledger.witness(origin, request)
            self.nodes[origin].ledger.accept_reply(witness, reply, request)
        raise AssertionError("the exchange does not come to rest")

    def settle(self, *origins: PartyId) -> None:
        """Co-sign the logs named (all, without names) until every request is answered with nothing to send."""
        for _ in range(10):
            sent = sum(
                self.exchange(origin, witness)
                for origin in origins or PARTIES
                for witness in PARTIES
                if witness != origin
            )
            if not sent:
                return
        raise AssertionError("co-signing does not come to rest")

    def close(self) -> None:
        for node in self.nodes.values():
            node.close()
