"""Restricted storage: docs/protocols/erasure.md sections 3 and 4."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from plain_ledger import LEDGER_MIGRATION, PlainLedger

from workbench.crypto import sm3
from workbench.domain.envelope import check_opening, parse_envelope
from workbench.domain.erasure import DAY_MS, Terms, parse_references
from workbench.domain.evidence import EvidenceKind, Field, Visibility
from workbench.domain.party import PartyId
from workbench.errors import Denied, NotFound
from workbench.store import Database, EvidenceLog, Vault
from workbench.store.blobs import BLOB_MIGRATIONS, Blobs
from workbench.store.restricted import ERASURE_MIGRATIONS, Restricted

BROKER = PartyId("broker")
ANNA, BEN = "a1" * 16, "b2" * 16
VALUE = "CANARY-4711-reason-of-the-customer"


def kind(name: str, *fields: Field) -> EvidenceKind:
    return EvidenceKind(name, fields, name, name)


NOTED = Field("noted", Visibility.COMMITTED, "记", "noted", subject=True)
COUNT = Field("count", Visibility.COMMITTED, "数", "count")
KINDS = [kind("rights.asked", NOTED, COUNT), kind("kept.noted", NOTED, COUNT), kind("old.noted", Field("noted", Visibility.COMMITTED, "", ""), COUNT)]


@dataclass
class Place:
    folder: Path
    time_ms: int = 1_790_000_000_000
    wrapped: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.database = Database(self.folder / "evidence.db", [LEDGER_MIGRATION, *BLOB_MIGRATIONS, *ERASURE_MIGRATIONS])
        self.vault = Vault(self.database, bytes(range(32)))
        self.ledger = PlainLedger(self.database, BROKER)
        self.log = EvidenceLog(
            KINDS, self.ledger, self.vault, now_ms=lambda: self.time_ms, random=secrets.token_bytes, party=BROKER,  # type: ignore[arg-type]
        )  # fmt: skip
        self.blobs = Blobs(self.database, self.vault, self.folder / "blobs", now_ms=lambda: self.time_ms)
        self.restricted = Restricted(
            self.vault, self.log, self.ledger, self.blobs, party=BROKER,  # type: ignore[arg-type]
            terms=Terms({"kept.": [100, "测试", "for the test"]}), now_ms=lambda: self.time_ms,
        )  # fmt: skip

    def append(self, kind: str, subject: str, value: str = VALUE) -> int:
        return self.database.write(
            lambda tx: self.log.append(tx, kind, {"noted": value, "count": "12"}, subject=subject)
        ).index

    def view(self, index: int) -> dict[str, str]:
        with self.database.read() as reader:
            return self.log.view(reader, index)

    def problems(self) -> list[tuple[int | None, str, str]]:
        with self.database.read() as reader:
            found = [*self.restricted.check(reader)]
        return [(one.index, one.field, one.problem) for one in [*found, *self.log.check_openings()]]

    def take(self, *names: str):  # type: ignore[no-untyped-def]
        return self.database.write(lambda tx: self.restricted.take_openings(tx, names, request="E-1"))

    def hits(self, *needles: bytes) -> list[str]:
        assert self.database.checkpoint()
        return [
            one.name for one in self.folder.rglob("*") if one.is_file() for needle in needles if needle in one.read_bytes()
        ]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.database.close()


def forms_of(text: str) -> list[bytes]:
    plain = text.encode()
    digests = [sm3.digest(plain), hashlib.sha256(plain).digest()]
    return [
        plain, text.encode("utf-16-le"), plain.hex().encode(), base64.b64encode(plain), *digests,
        *[one.hex().encode() for one in digests],
    ]  # fmt: skip


def test_only_marked_fields_lie_under_the_customers_key(place: Place) -> None:
    index = place.append("rights.asked", ANNA)
    with place.database.read() as reader:
        rows = dict(reader.execute("SELECT field, subject FROM evidence_opening").fetchall())
    assert rows == {"noted": ANNA, "count": ""}
    assert place.view(index) == {"noted": VALUE, "count": "12"}
    place.append("old.noted", ANNA)
    with place.database.read() as reader:
        assert {row[0] for row in reader.execute("SELECT subject FROM evidence_opening WHERE entry_idx = 1")} == {ANNA}


def test_what_nothing_demands_is_erased_and_the_rest_is_set_aside(place: Place) -> None:
    asked, kept, other = place.append("rights.asked", ANNA), place.append("kept.noted", ANNA), place.append("kept.noted", BEN)
    bodies = place.ledger.entry_bodies(BROKER, 0, 3)
    taken = place.take(ANNA)
    assert [set(parse_references(one)) for one in taken.erased] == [{asked}]
    (one,) = taken.restricted
    assert (one.entry, one.items, one.until_ms, one.basis_en) == (kept, 1, place.time_ms + 100 * DAY_MS, "for the test")
    assert place.view(asked) == place.view(kept) == {"count": "12"}
    assert place.view(other) == {"noted": VALUE, "count": "12"}
    assert place.problems() == []
    assert place.ledger.entry_bodies(BROKER, 0, 3) == bodies
    assert place.take(ANNA).restricted == []


def test_what_is_set_aside_opens_only_here_and_still_fits_its_commitment(place: Place) -> None:
    kept = place.append("kept.noted", ANNA)
    (one,) = place.take(ANNA).restricted
    with place.database.read() as reader:
        for read in (lambda: place.vault.get(reader, f"restricted/{one.id}"), lambda: next(place.vault.get_stream(reader, f"restricted/{one.id}"))):
            with pytest.raises(Denied) as error:
                read()
            assert error.value.code == "RESTRICTED"
        _, values = place.restricted.open(reader, one.id)
    salt, value = values["noted"][:32], values["noted"][32:].decode()
    assert value == VALUE
    check_opening(parse_envelope(place.ledger.entry_bodies(BROKER, kept, kept + 1)[0]), "noted", salt, value)


def test_a_term_that_ends_destroys_key_and_bytes_in_every_form(place: Place) -> None:
    place.append("kept.noted", ANNA)
    with place.database.read() as reader:
        customer_key = place.vault.open_subject_key(reader, ANNA)
        wrapped = reader.execute("SELECT wrapped FROM vault_subject WHERE subject = ?", (ANNA,)).fetchone()[0]
    salt = None
    (one,) = place.take(ANNA).restricted
    with place.database.read() as reader:
        salt = place.restricted.open(reader, one.id)[1]["noted"][:32]
        again = reader.execute("SELECT wrapped FROM vault_object").fetchone()[0]
        sealed = reader.execute("SELECT sealed FROM vault_chunk").fetchone()[0]
    assert place.hits(wrapped, customer_key) == [] and place.hits(again) != []
    place.time_ms += 100 * DAY_MS - 1
    with place.database.read() as reader:
        assert place.restricted.due(reader, place.time_ms) == []
        (due,) = place.restricted.due(reader, place.time_ms + 1)
    assert place.database.write(lambda tx: place.restricted.destroy(tx, due))
    assert not place.database.write(lambda tx: place.restricted.destroy(tx, due))
    assert place.hits(again, sealed, salt, customer_key, *forms_of(VALUE)) == []
    assert place.problems() == []
    with place.database.read() as reader:
        with pytest.raises(NotFound):
            place.restricted.open(reader, one.id)
        assert place.restricted.restrictions(reader) == []
        assert ANNA not in str(reader.execute("SELECT * FROM erasure_restriction").fetchone()[:])


def test_a_restricted_value_that_was_altered_or_taken_out_is_found(place: Place) -> None:
    kept = place.append("kept.noted", ANNA)
    place.take(ANNA)
    place.database.write(lambda tx: tx.execute("UPDATE vault_chunk SET sealed = randomblob(length(sealed))").rowcount)
    assert place.problems() == [(kept, "noted", "RESTRICTED_ALTERED")]
    place.database.write(lambda tx: tx.execute("DELETE FROM erasure_restriction").rowcount)
    assert place.problems() == [(kept, "noted", "RESTRICTED_MISSING")]


def test_records_and_their_documents_go_the_same_way(place: Place) -> None:
    for ref in ("7", "8"):
        place.database.write(lambda tx, ref=ref: place.blobs.put(tx, [b"form " + ref.encode()], owner="consent", ref=ref))

    def take(kind: str, ref: str):  # type: ignore[no-untyped-def]
        return place.database.write(
            lambda tx: place.restricted.take_records(
                tx, {ref: b"row"}, owner="consent", kind=kind, from_ms=place.time_ms, request="E-1", documents=[ref]
            )
        )

    kept, gone = take("kept.grant", "7"), take("rights.grant", "8")
    assert kept.restricted_items == 1 and gone.erased_items == 1
    with place.database.read() as reader:
        assert list(place.blobs.references(reader, "consent")) == ["7"]
        with pytest.raises(Denied):
            place.blobs.named(reader, "consent", "7")
    place.database.write(lambda tx: place.restricted.destroy(tx, kept.restricted[0]))
    assert list((place.folder / "blobs").glob("??/*")) == []


def test_a_kind_cannot_share_what_concerns_a_customer(place: Place) -> None:
    wrong = kind("rights.wrong", Field("noted", Visibility.SHARED, "记", "noted", subject=True))
    with pytest.raises(ValueError, match="concerns a customer"):
        EvidenceLog([wrong], place.ledger, place.vault, now_ms=lambda: 0, random=secrets.token_bytes, party=BROKER)  # type: ignore[arg-type]
