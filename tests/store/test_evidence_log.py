"""Evidence in the store: docs/store.md, section "Evidence"; docs/protocols/evidence.md sections 1 and 2."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from plain_ledger import LEDGER_MIGRATION, PlainLedger

from workbench.contracts import Transaction
from workbench.domain.envelope import parse_envelope
from workbench.domain.evidence import EvidenceKind, Field, Visibility
from workbench.domain.party import PartyId
from workbench.errors import NotFound, Refused, VerificationError
from workbench.store import Database, EntryDraft, EvidenceLog, Vault

BROKER = PartyId("broker")
KIND = EvidenceKind(
    "intersection.proposed",
    (
        Field("purpose", Visibility.SHARED, "用途", "purpose"),
        Field("size", Visibility.COMMITTED, "名单行数", "rows of the list", "rows"),
        Field("list_digest", Visibility.COMMITTED, "名单摘要", "digest of the list"),
    ),
    "提出求交",
    "an intersection was proposed",
)
OPEN_KIND = EvidenceKind("node.started", (Field("version", Visibility.SHARED, "版本", "version"),), "启动", "started")
VALUES = {"purpose": "wealth-marketing", "size": "CANARY-4711", "list_digest": "ab" * 32}
NOW = 1_790_000_000_123


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EvidenceLog]:
    with Database(tmp_path / "evidence.db", [LEDGER_MIGRATION]) as database:
        yield make_log(database)


def make_log(database: Database) -> EvidenceLog:
    vault = Vault(database, bytes(range(32)))
    ledger = PlainLedger(database, BROKER)
    return EvidenceLog(
        [KIND, OPEN_KIND],
        ledger,  # type: ignore[arg-type]  # the part of the contract that is used here
        vault,
        now_ms=lambda: NOW,
        random=secrets.token_bytes,
        party=BROKER,
    )


def database_of(log: EvidenceLog) -> Database:
    return log._vault.database


def append(log: EvidenceLog, kind: str = KIND.name, values: dict[str, str] | None = None, **rest: str) -> int:
    values = VALUES if values is None else values
    return database_of(log).write(lambda tx: log.append(tx, kind, values, **rest)).index


def view(log: EvidenceLog, index: int) -> dict[str, str]:
    with database_of(log).read() as reader:
        return log.view(reader, index)


def alter(log: EvidenceLog, sql: str, *parameters: object) -> int:
    return database_of(log).write(lambda tx: tx.execute(sql, parameters).rowcount)


def problems(log: EvidenceLog) -> list[tuple[int | None, str, str]]:
    return [(finding.index, finding.field, finding.problem) for finding in log.check_openings()]


def test_own_staff_read_every_value_and_the_mirrored_body_has_the_shared_ones_only(log: EvidenceLog) -> None:
    index = append(log, job="j1", actor="a1")
    assert view(log, index) == VALUES
    body = log._ledger.entry_bodies(BROKER, index, index + 1)[0]
    envelope = parse_envelope(body)
    assert envelope.shared == {"purpose": "wealth-marketing"}
    assert set(envelope.committed) == {"size", "list_digest"}
    assert (envelope.kind, envelope.job, envelope.actor, envelope.time_ms) == (KIND.name, "j1", "a1", NOW)


def test_committed_values_are_in_no_file(log: EvidenceLog) -> None:
    append(log)
    append(log, subject="s1")
    database_of(log).checkpoint()
    for file in database_of(log).path.parent.iterdir():
        assert b"CANARY-4711" not in file.read_bytes()


def test_entry_exists_exactly_when_its_change_does(log: EvidenceLog) -> None:
    def change(tx: Transaction) -> None:
        log.append(tx, KIND.name, VALUES, subject="s1")
        raise Refused("不行", "no")

    with pytest.raises(Refused):
        database_of(log).write(change)
    with database_of(log).read() as reader:
        for table in ("entry", "evidence_opening", "evidence_index", "vault_subject"):
            assert reader.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0
    assert append(log) == 0


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("intersection.unknown", VALUES),
        (KIND.name, {"purpose": "x"}),
        (KIND.name, {**VALUES, "phone": "x"}),
        (KIND.name, {**VALUES, "size": 4711}),
    ],
)
def test_unknown_kind_or_field_is_a_mistake(log: EvidenceLog, kind: str, values: dict[str, str]) -> None:
    with pytest.raises((ValueError, TypeError), match="string|kind|fields"):
        append(log, kind, values)
    assert log._ledger.size(BROKER) == 0


def test_kind_declared_twice_is_a_mistake(log: EvidenceLog) -> None:
    with pytest.raises(ValueError, match="declared twice"):
        EvidenceLog(
            [KIND, EvidenceKind(KIND.name, (), "", "")],
            log._ledger,
            log._vault,
            now_ms=lambda: 0,
            random=secrets.token_bytes,
            party=BROKER,
        )


def test_many_entries_at_once_are_the_same_as_one_by_one(log: EvidenceLog) -> None:
    drafts = [
        EntryDraft(KIND.name, {**VALUES, "size": str(i)}, job=f"j{i % 3}", subject=f"s{i % 2}") for i in range(50)
    ]
    refs = database_of(log).write(lambda tx: log.append_many(tx, drafts))
    assert [ref.index for ref in refs] == list(range(50))
    assert [view(log, i)["size"] for i in range(50)] == [str(i) for i in range(50)]
    assert problems(log) == []


def test_threads_leave_a_log_without_gaps(log: EvidenceLog) -> None:
    def work() -> None:
        for _ in range(30):
            append(log, job=threading.current_thread().name)

    threads = [threading.Thread(target=work, name=f"t{i}") for i in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with database_of(log).read() as reader:
        assert len(log.search(reader, limit=1000)) == 150
        assert len(log.search(reader, job="t3", limit=1000)) == 30
    assert log._ledger.size(BROKER) == 150
    assert problems(log) == []


def test_entry_names_what_is_closed(log: EvidenceLog) -> None:
    append(log, job="j1", refs=("entry:bank:0:" + "ab" * 32,))  # type: ignore[arg-type]
    with database_of(log).read() as reader:
        entry = log.entry(reader, 0, required=[PartyId("bank")])
        assert entry.values == VALUES
        assert entry.closed == ()
        assert entry.seal.missing == ("bank",)
        assert entry.refs == ("entry:bank:0:" + "ab" * 32,)
        with pytest.raises(NotFound):
            log.entry(reader, 1, required=[])
        with pytest.raises(NotFound):
            log.view(reader, -1)


# ---- erasure


def test_forgotten_customer_takes_the_openings_along_and_leaves_the_log_whole(log: EvidenceLog) -> None:
    append(log, subject="s1")
    append(log, subject="s2")
    append(log)
    database = database_of(log)
    with database.read() as reader:
        sealed = [row[0] for row in reader.execute("SELECT blob FROM evidence_opening WHERE subject = 's1'")]
        sealed += [row[0] for row in reader.execute("SELECT wrapped FROM vault_subject WHERE subject = 's1'")]
    assert database.write(lambda tx: log.forget_subject(tx, "s1")) == 2
    assert database.checkpoint(timeout_s=10)
    content = b"".join(file.read_bytes() for file in database.path.parent.iterdir())
    assert not any(one in content for one in sealed)
    assert view(log, 0) == {"purpose": "wealth-marketing"}
    assert view(log, 1) == view(log, 2) == VALUES
    with database.read() as reader:
        assert log.entry(reader, 0, required=[]).closed == ("list_digest", "size")
        assert log.erased_openings(reader) == 2
    assert problems(log) == []
    assert database.write(lambda tx: log.forget_subject(tx, "s1")) == 0


# ---- what somebody with the sqlite3 tool could do


def test_altered_opening_is_refused_and_located(log: EvidenceLog) -> None:
    for _ in range(3):
        append(log)
    with database_of(log).read() as reader:
        blob = reader.execute("SELECT blob FROM evidence_opening WHERE entry_idx = 1 AND field = 'size'").fetchone()[0]
    spoiled = blob[:20] + bytes([blob[20] ^ 1]) + blob[21:]
    alter(log, "UPDATE evidence_opening SET blob = ? WHERE entry_idx = 1 AND field = 'size'", spoiled)
    with pytest.raises(VerificationError):
        view(log, 1)
    assert problems(log) == [(1, "size", "MISMATCH")]
    assert view(log, 2) == VALUES


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            "UPDATE evidence_opening AS a SET blob = b.blob FROM evidence_opening AS b WHERE a.entry_idx = 1 AND"
            + " a.field = 'size' AND b.entry_idx = 0 AND b.field = 'size'",
            [(1, "size", "MISMATCH")],
        ),
        ("DELETE FROM evidence_opening WHERE entry_idx = 2 AND field = 'size'", [(2, "size", "NO_OPENING")]),
        (
            "UPDATE evidence_opening SET entry_idx = 99 WHERE entry_idx = 2 AND field = 'size'",
            [(2, "size", "NO_OPENING"), (99, "size", "NO_ENTRY")],
        ),
        (
            "UPDATE evidence_opening SET field = 'other' WHERE entry_idx = 2 AND field = 'size'",
            [(2, "size", "NO_OPENING"), (2, "other", "MISMATCH")],
        ),
        ("INSERT INTO evidence_opening VALUES (1, 'other', '', x'')", [(1, "other", "NO_ENTRY")]),
        ("UPDATE evidence_opening SET subject = 's9' WHERE entry_idx = 1 AND field = 'size'", [(1, "size", "NO_KEY")]),
        ("UPDATE evidence_opening SET blob = 'text' WHERE entry_idx = 1 AND field = 'size'", [(1, "size", "MISMATCH")]),
        ("UPDATE entry SET body = x'7b7d' WHERE idx = 1", [(1, "", "NO_ENVELOPE")]),
        (
            "UPDATE entry SET body = (SELECT body FROM entry WHERE idx = 0) WHERE idx = 1",
            [(1, "list_digest", "MISMATCH"), (1, "size", "MISMATCH")],
        ),
    ],
)
def test_every_kind_of_tampering_is_located(log: EvidenceLog, sql: str, expected: list[tuple[int, str, str]]) -> None:
    for _ in range(3):
        append(log)
    assert problems(log) == []
    assert alter(log, sql) == 1
    assert problems(log) == expected


# ---- search


def test_search_finds_by_job_kind_area_and_text(log: EvidenceLog) -> None:
    append(log, job="j1", actor="anna")
    append(log, OPEN_KIND.name, {"version": "100% 测试_版"})
    append(log, job="j2")
    append(log, job="j1")

    def found(**query: object) -> list[int]:
        with database_of(log).read() as reader:
            return [row.index for row in log.search(reader, **query)]  # type: ignore[arg-type]  # each test names its own

    assert found() == [3, 2, 1, 0]
    assert found(limit=2) == [3, 2]
    assert found(before=2) == [1, 0]
    assert found(after=1) == [3, 2]
    assert found(after=0, before=3) == [2, 1]
    assert found(job="j1") == [3, 0]
    assert found(kind=KIND.name) == [3, 2, 0]
    assert found(kind="node.") == [1]
    assert found(kind="node") == []
    assert found(text="测试") == [1]
    assert found(text="100%") == found(text="试_版") == [1]
    assert found(text="1%0") == found(text="测_") == []
    assert found(text="anna", job="j1") == [0]
    assert found(text="WEALTH") == [3, 2, 0]
    assert found(text="CANARY") == []


def test_index_made_anew_from_the_log_is_the_same(log: EvidenceLog) -> None:
    for i in range(7):
        append(log, job=f"j{i % 2}", actor="a")
    append(log, OPEN_KIND.name, {"version": "1"})
    with database_of(log).read() as reader:
        before = reader.execute("SELECT * FROM evidence_index ORDER BY entry_idx").fetchall()
    alter(log, "DELETE FROM evidence_index WHERE entry_idx = 3")
    alter(log, "UPDATE evidence_index SET job = 'forged' WHERE entry_idx = 4")
    alter(log, "INSERT INTO evidence_index VALUES (77, 'x', 'x', 'x', 0, 'x')")
    assert log.rebuild_index() == 8
    with database_of(log).read() as reader:
        assert reader.execute("SELECT * FROM evidence_index ORDER BY entry_idx").fetchall() == before


def test_log_opens_again_with_the_same_vault_key(tmp_path: Path) -> None:
    path = tmp_path / "evidence.db"
    with Database(path, [LEDGER_MIGRATION]) as database:
        append(make_log(database), subject="s1")
    with Database(path, [LEDGER_MIGRATION]) as database:
        log = make_log(database)
        assert view(log, 0) == VALUES
        log._vault.rewrap(secrets.token_bytes(32))
        assert view(log, 0) == VALUES
        assert problems(log) == []
