"""Somebody has a copy of what an institution stores, without its vault key, and tries every customer there is.

Promise (docs/protocols/erasure.md section 0, evidence.md section 2): no phone and no identity number is confirmed by the
database files, the own log or the mirrors of any institution: not in plain, encoded or hashed, not keyed with anything
public, and not as a commitment under any value that lies in the files.
"""

from __future__ import annotations

import hashlib
import hmac
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest

from workbench.crypto import sm3
from workbench.domain.envelope import Envelope, commit, parse_envelope
from workbench.domain.party import Role

from tests.flows import population
from tests.flows.institutions import fresh_workspace, running
from tests.privacy.searching import Search, digest_forms, search_for

PEOPLE = sorted({one for known in population.KNOWN.values() for one in known} | {901})
PHONES = [population.phone(one) for one in PEOPLE]
NUMBERS = [population.id_no(one) for one in PEOPLE]
PARTIES = ("broker", "cardnet", "bank")
PUBLIC = (
    b"", b"workbench", b"workbench/v1/entry", b"workbench/v1/commitment", b"workbench/v1/grant", b"workbench/v1/signed-form",
    b"workbench/v1/withdrawal", b"workbench/v1/recovery", b"consent-subject", b"consent", b"phone", b"id_no", b"phone\0",
    b"id_no\0", b"token", b"vault/token", b"evidence", b"blob", b"recovery", b"broker", b"bank", b"cardnet",
)  # fmt: skip


@dataclass
class Stolen:
    """What was copied: file below the workspace -> bytes, and every envelope in the log and the mirrors, by holder."""

    files: dict[str, bytes]
    envelopes: list[Envelope]
    databases: list[Path]
    opening: tuple[bytes, str]
    """Salt and value of one outcome, which a thief does not have: the proof that the search would find it."""


@pytest.fixture(scope="module")
def stolen(tmp_path_factory: pytest.TempPathFactory) -> Stolen:
    """Three institutions after an intersection, look-ups, withdrawals, a signed form's import and an erasure."""
    workspace = fresh_workspace()
    with running(workspace) as three:
        three.run("broker", "bank", "customer-service")
        for party in PARTIES:
            for person in (65, 71, 95):
                other = next(one for one in PARTIES if one != party)
                three.call(
                    party, Role.COMPLIANCE, "consent.check", phone=population.phone(person), purpose="customer-service", recipient=other
                )
                three.call(party, Role.COMPLIANCE, "consent.withdraw", phone=population.phone(person), purpose="test-41")
            three.call(party, Role.COMPLIANCE, "customers.erase", id_no=population.id_no(99), reason="asked by letter")
        three.wait_until(lambda: all(node.sealing.pending()[1] == 0 for node in three.nodes.values()))
        node = three.nodes["broker"]
        index = three.entries("broker", kind="consent.checked")[-1].ref.index
        with node.store.read() as reader:
            opening = node.evidence.openings(reader, index, ["outcome"])["outcome"]
        envelopes = []
        for node in three.nodes.values():
            for log in PARTIES:
                envelopes += [parse_envelope(body) for body in node.ledger.entry_bodies(log, 0, node.ledger.size(log))]
        folder = tmp_path_factory.mktemp("stolen")
        shutil.copytree(workspace.folder, folder / "copy", ignore=shutil.ignore_patterns("vault.key", "passphrase", "keys", "signins.json"))
    shutil.rmtree(workspace.folder)
    paths = [path for path in (folder / "copy").rglob("*") if path.is_file()]
    databases = [path for path in paths if path.name == "evidence.db"]
    assert len(databases) == 3 and len(envelopes) > 600
    return Stolen({str(one.relative_to(folder)): one.read_bytes() for one in paths}, envelopes, databases, opening)


def test_no_identifier_in_plain_encoded_or_hashed(stolen: Stolen) -> None:
    search = search_for([*PHONES, *NUMBERS])
    assert search.size > 8_000
    for name, data in stolen.files.items():
        assert search.hits(data) == [], name


def test_no_identifier_keyed_with_anything_public(stolen: Stolen) -> None:
    """HMAC-SM3 and HMAC-SHA-256 over plain and labelled text, and truncated to the size of a token."""
    patterns: dict[str, bytes] = {}
    for identifier in (*PHONES[::4], *NUMBERS[::4]):
        kind = b"phone" if len(identifier) == 11 else b"id_no"
        for number, key in enumerate(PUBLIC):
            for text in (identifier.encode(), kind + b"\0" + identifier.encode()):
                for name, digest in (
                    ("HMAC-SM3", sm3.hmac(key or b"\0", text)),
                    ("HMAC-SHA-256", hmac.digest(key or b"\0", text, "sha256")),
                    ("SM3", sm3.digest(key + text)),
                    ("SHA-256", hashlib.sha256(key + text).digest()),
                ):
                    what = f"{identifier[-4:]} {number} {len(text)} {name}"
                    patterns |= {f"{what} {form}": value for form, value in digest_forms("", digest[:16]).items() if len(value) >= 12}
    search = Search(patterns)
    first = next(iter(patterns.values()))
    assert search.size > 50_000 and search.hits(b"--" + first + b"--")
    for name, data in stolen.files.items():
        assert search.hits(data) == [], name


def values_of(path: Path) -> set[bytes]:
    """Every value of 16 or 32 bytes that stands in a cell, raw or in hexadecimal: what could be taken for a salt."""
    found: set[bytes] = set()
    with sqlite3.connect(path) as connection:
        connection.text_factory = bytes
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if table.startswith(b"sqlite_"):
                continue
            for cells in connection.execute(f'SELECT * FROM "{table.decode()}"'):
                for cell in cells:
                    if isinstance(cell, bytes) and len(cell) in (32, 64):
                        found.add(cell)
                        if len(cell) == 64:
                            try:
                                found.add(bytes.fromhex(cell.decode("ascii")))
                            except ValueError:
                                pass
                    elif isinstance(cell, bytes) and 32 < len(cell) <= 1024:
                        found |= {cell[:32], cell[-32:], cell[12:44]}
    return {one for one in found if len(one) == 32}


def test_no_commitment_opens_with_any_value_in_the_files(stolen: Stolen) -> None:
    """Every commitment about a customer, every phone, every value of the files as its salt."""
    wanted: dict[tuple[str, str], set[bytes]] = {}
    for envelope in stolen.envelopes:
        if envelope.kind.startswith(("consent.", "customers.", "evidence.", "lists.")):
            for name, digest in envelope.committed.items():
                wanted.setdefault((envelope.kind, name), set()).add(digest)
    assert {"subject", "reason"} <= {name for _, name in wanted}
    salt, value = stolen.opening
    assert commit(kind="consent.checked", field="outcome", salt=salt, value=value) in wanted["consent.checked", "outcome"]
    salts = sorted({value for path in stolen.databases for value in values_of(path)})
    assert len(salts) > 300 and salt not in salts
    salts = salts[:: max(1, len(salts) // 2000)]
    guesses = [population.phone(one) for one in (65, 71, 95, 99)] + [population.id_no(one) for one in (65, 71, 95, 99)]
    for (kind, name), digests in wanted.items():
        if name not in {"subject", "reason", "purpose", "recipient", "entries", "outcome", "list"}:
            continue
        for salt in salts:
            for guess in guesses:
                assert commit(kind=kind, field=name, salt=salt, value=guess) not in digests, (kind, name)


def test_no_mirrored_envelope_names_a_customer_or_repeats_a_token(stolen: Stolen) -> None:
    seen: dict[str, int] = {}
    for envelope in {(one.log, one.time_ms, one.kind, str(one.committed)): one for one in stolen.envelopes}.values():
        if envelope.kind in ("consent.withdrawn", "evidence.erased", "evidence.restricted", "consent.erased"):
            assert set(envelope.shared) <= {"root", "recovery"} and envelope.refs == ()
            for value in envelope.shared.values():
                seen[value] = seen.get(value, 0) + 1
    assert len(seen) > 20 and set(seen.values()) == {1}
