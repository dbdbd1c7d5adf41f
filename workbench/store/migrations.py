"""The shape of the database, step by step: which steps exist, which are applied, and that none was changed since.

Document: docs/store.md, section "Migrations". Every owner ("store", "host" or a plugin) numbers its own steps from 1
without gaps. The table `store_migration` keeps the SM3 of every applied step; a database that knows a step this program
does not know, or knows another text of it, is not opened.
"""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence

from workbench.contracts import Migration
from workbench.crypto import sm3
from workbench.errors import StartRefused

FREE_OWNERS = frozenset({"store", "host"})
"""Owners inside the host, whose tables need no prefix."""

PUBLIC_TABLES = {"entry": frozenset({"ledger", "workbench_ledger"})}
"""Names without a prefix that a plugin may make, and which plugin (decision 6: `entry` is a public name)."""

STORE_MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        "store",
        1,
        """
        CREATE TABLE store_incident (
            number  INTEGER PRIMARY KEY,
            time_ms INTEGER NOT NULL,
            code    TEXT NOT NULL,
            callers INTEGER NOT NULL
        );
        CREATE TABLE vault_root (
            name    TEXT PRIMARY KEY,
            wrapped BLOB NOT NULL
        );
        CREATE TABLE vault_subject (
            subject TEXT PRIMARY KEY,
            wrapped BLOB NOT NULL
        );
        CREATE TABLE vault_object (
            name       TEXT PRIMARY KEY,
            object     BLOB NOT NULL UNIQUE,
            generation INTEGER NOT NULL,
            chunks     INTEGER NOT NULL,
            size_bytes INTEGER NOT NULL,
            wrapped    BLOB NOT NULL
        );
        CREATE TABLE vault_chunk (
            object BLOB NOT NULL,
            number INTEGER NOT NULL,
            sealed BLOB NOT NULL,
            PRIMARY KEY (object, number)
        );
        CREATE TABLE evidence_opening (
            entry_idx INTEGER NOT NULL,
            field     TEXT NOT NULL,
            subject   TEXT NOT NULL,
            blob      BLOB NOT NULL,
            PRIMARY KEY (entry_idx, field)
        ) WITHOUT ROWID;
        CREATE INDEX evidence_opening_subject ON evidence_opening (subject) WHERE subject <> '';
        CREATE TABLE evidence_index (
            entry_idx INTEGER PRIMARY KEY,
            kind      TEXT NOT NULL,
            job       TEXT NOT NULL,
            actor     TEXT NOT NULL,
            time_ms   INTEGER NOT NULL,
            words     TEXT NOT NULL
        );
        CREATE INDEX evidence_index_job ON evidence_index (job, entry_idx);
        CREATE INDEX evidence_index_kind ON evidence_index (kind, entry_idx);
        CREATE TABLE outbox (
            id         INTEGER PRIMARY KEY AUTOINCREMENT,
            peer       TEXT NOT NULL,
            path       TEXT NOT NULL,
            body       BLOB NOT NULL,
            created_ms INTEGER NOT NULL,
            tries      INTEGER NOT NULL DEFAULT 0,
            next_ms    INTEGER NOT NULL,
            done_ms    INTEGER,
            last_error TEXT NOT NULL DEFAULT ''
        );
        CREATE INDEX outbox_waiting ON outbox (next_ms, id) WHERE done_ms IS NULL;
        """,
    ),
)
"""The tables of this package."""

_HISTORY = """
CREATE TABLE IF NOT EXISTS store_migration (
    owner  TEXT NOT NULL,
    number INTEGER NOT NULL,
    sm3    TEXT NOT NULL,
    PRIMARY KEY (owner, number)
) WITHOUT ROWID
"""
_OWNER = re.compile(r"[a-z][a-z0-9_]{0,40}")
_REFUSED_ACTIONS = frozenset(
    {
        sqlite3.SQLITE_TRANSACTION,
        sqlite3.SQLITE_SAVEPOINT,
        sqlite3.SQLITE_ATTACH,
        sqlite3.SQLITE_DETACH,
        sqlite3.SQLITE_PRAGMA,
    }
)
# Action -> which of the authorizer's two arguments names what must belong to the owner (sqlite.org/c3ref/c_alter_table).
_NAMED_FIRST = frozenset(
    {
        sqlite3.SQLITE_CREATE_TABLE,
        sqlite3.SQLITE_CREATE_VIEW,
        sqlite3.SQLITE_CREATE_VTABLE,
        sqlite3.SQLITE_DROP_TABLE,
        sqlite3.SQLITE_DROP_VIEW,
        sqlite3.SQLITE_DROP_VTABLE,
        sqlite3.SQLITE_INSERT,
        sqlite3.SQLITE_UPDATE,
        sqlite3.SQLITE_DELETE,
    }
)
_NAMED_SECOND = frozenset(
    {
        sqlite3.SQLITE_ALTER_TABLE,
        sqlite3.SQLITE_CREATE_INDEX,
        sqlite3.SQLITE_CREATE_TRIGGER,
        sqlite3.SQLITE_DROP_INDEX,
        sqlite3.SQLITE_DROP_TRIGGER,
    }
)


def apply_migrations(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> list[tuple[str, int]]:
    """Bring the database to the newest step of every owner in one transaction; returns the steps taken.

    connection: in autocommit mode, able to write. migrations: of all owners, in the order in which owners appear.
    Owners that the database knows and `migrations` does not are left as they are: a plugin may be taken out.
    Raises ValueError for a malformed list, StartRefused when the database is newer or a step was changed, and
    sqlite3.Error when a step fails; nothing of any step is kept then.
    """
    by_owner = _grouped(migrations)
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(_HISTORY)
        taken = [step for owner, steps in by_owner.items() for step in _apply_owner(connection, owner, steps)]
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return taken


def applied_migrations(connection: sqlite3.Connection) -> dict[tuple[str, int], str]:
    """(owner, number) -> SM3 in hex of every step this database has taken."""
    rows = connection.execute("SELECT owner, number, sm3 FROM store_migration ORDER BY owner, number")
    return {(owner, number): digest for owner, number, digest in rows}


def migration_digest(migration: Migration) -> str:
    """SM3 in hex of what a step is: owner, number and text, length by length."""
    owner, text = migration.owner.encode(), migration.sql.encode()
    head = b"".join(len(part).to_bytes(4, "big") + part for part in (owner, str(migration.number).encode()))
    return sm3.digest(b"workbench/v1/migration\n" + head + text).hex()


def split_statements(sql: str) -> Iterator[str]:
    """The statements of a script one by one; a trigger's inner semicolons do not end it.

    `executescript` cannot serve: it commits before it starts. Raises ValueError for an unfinished last statement.
    """
    statement = ""
    for part in re.split(r"(?<=;)", sql):
        statement += part
        if sqlite3.complete_statement(statement):
            if _bare(statement) != ";":
                yield statement.strip()
            statement = ""
    if _bare(statement):
        raise ValueError("the last statement of a migration ends with a semicolon")


def _grouped(migrations: Sequence[Migration]) -> dict[str, list[Migration]]:
    by_owner: dict[str, list[Migration]] = defaultdict(list)
    for migration in migrations:
        if not _OWNER.fullmatch(migration.owner):
            raise ValueError(f"{migration.owner!r} cannot own tables: lower-case letters, digits and underscores")
        by_owner[migration.owner].append(migration)
    for owner, steps in by_owner.items():
        steps.sort(key=lambda step: step.number)
        if [step.number for step in steps] != list(range(1, len(steps) + 1)):
            raise ValueError(f"the migrations of {owner!r} are numbered 1, 2, 3 … without gaps")
    return by_owner


def _apply_owner(connection: sqlite3.Connection, owner: str, steps: Sequence[Migration]) -> Iterator[tuple[str, int]]:
    known = connection.execute(
        "SELECT number, sm3 FROM store_migration WHERE owner = ? ORDER BY number", (owner,)
    ).fetchall()
    if len(known) > len(steps):
        raise StartRefused(
            f"数据库中“{owner}”的版本为 {len(known)}，本程序只认识到 {len(steps)}：请管理员安装较新的程序",
            f"the database is at step {len(known)} of {owner}, this program knows {len(steps)}: install a newer program",
            code="STORE_NEWER",
            details={"owner": owner, "database": str(len(known)), "program": str(len(steps))},
        )
    for step, (number, digest) in zip(steps, known, strict=False):
        if step.number != number or migration_digest(step) != digest:
            raise StartRefused(
                f"“{owner}”的第 {step.number} 个迁移步骤与数据库中执行过的不同：请管理员核对所装程序",
                f"migration {step.number} of {owner} is not the one this database was made with: check what is installed",
                code="STORE_MIGRATION_CHANGED",
                details={"owner": owner, "number": str(step.number)},
            )
    for step in steps[len(known) :]:
        _apply_step(connection, step)
        connection.execute("INSERT INTO store_migration VALUES (?, ?, ?)", (owner, step.number, migration_digest(step)))
        yield owner, step.number


def _apply_step(connection: sqlite3.Connection, step: Migration) -> None:
    def authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if action in _REFUSED_ACTIONS:
            return sqlite3.SQLITE_DENY
        name = first if action in _NAMED_FIRST else second if action in _NAMED_SECOND else None
        return sqlite3.SQLITE_OK if name is None or _belongs(name, step.owner) else sqlite3.SQLITE_DENY

    for statement in split_statements(step.sql):
        connection.set_authorizer(authorize)
        try:
            connection.execute(statement)
        finally:
            connection.set_authorizer(None)


def _belongs(name: str, owner: str) -> bool:
    """Whether an owner may make or change this table; SQLite keeps its own books in sqlite_* while doing so."""
    if owner in FREE_OWNERS or name.startswith((f"{owner}_", "sqlite_")):
        return True
    return owner in PUBLIC_TABLES.get(name, ())


def _bare(statement: str) -> str:
    """The statement without comments and surrounding space."""
    return re.sub(r"--[^\n]*|/\*.*?\*/", "", statement, flags=re.DOTALL).strip()
