"""Steps of the schema: docs/store.md, section "Migrations"."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.contracts import Migration
from workbench.errors import StartRefused
from workbench.store import Database, applied_migrations, apply_migrations
from workbench.store.migrations import STORE_MIGRATIONS, split_statements


def memory() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None)


def schema(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()


def steps(owner: str, count: int) -> list[Migration]:
    first = Migration(
        owner, 1, f"CREATE TABLE {owner}_t (c0 TEXT DEFAULT ';'); -- one; two\n INSERT INTO {owner}_t VALUES ('a;b');"
    )
    return [first, *(Migration(owner, n, f"ALTER TABLE {owner}_t ADD COLUMN c{n};") for n in range(2, count + 1))][
        :count
    ]


@given(counts=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_many_small_upgrades_end_where_one_large_one_does(counts: list[tuple[int, int]]) -> None:
    counts = sorted((min(a, b), max(a, b)) for a, b in counts)
    reached, all_at_once = memory(), memory()
    alpha = beta = 0
    taken: list[tuple[str, int]] = []
    for a, b in counts:
        alpha, beta = max(alpha, a), max(beta, b)
        taken += apply_migrations(reached, [*steps("alpha", alpha), *steps("beta", beta)])
    apply_migrations(all_at_once, [*steps("alpha", alpha), *steps("beta", beta)])
    assert schema(reached) == schema(all_at_once)
    assert applied_migrations(reached) == applied_migrations(all_at_once)
    assert sorted(taken) == sorted(applied_migrations(reached))


@given(known=st.integers(1, 5), changed=st.integers(1, 5), position=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_every_changed_letter_of_an_applied_step_is_refused(known: int, changed: int, position: int) -> None:
    connection = memory()
    apply_migrations(connection, steps("alpha", known))
    altered = steps("alpha", known)
    victim = altered[min(changed, known) - 1]
    at = position % (len(victim.sql) + 1)
    altered[victim.number - 1] = Migration("alpha", victim.number, victim.sql[:at] + " " + victim.sql[at:])
    before = schema(connection)
    with pytest.raises(StartRefused) as caught:
        apply_migrations(connection, altered)
    assert caught.value.code == "STORE_MIGRATION_CHANGED"
    assert schema(connection) == before


def test_database_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evidence.db"
    Database(path, steps("alpha", 3)).close()
    with pytest.raises(StartRefused) as caught:
        Database(path, steps("alpha", 2))
    assert caught.value.code == "STORE_NEWER"
    assert caught.value.details == {"owner": "alpha", "database": "3", "program": "2"}
    with Database(path, steps("alpha", 4)) as opened:
        assert opened.migrations_taken == [("alpha", 4)]


def test_plugin_that_was_taken_out_leaves_its_tables(tmp_path: Path) -> None:
    path = tmp_path / "evidence.db"
    Database(path, steps("alpha", 2)).close()
    with Database(path) as opened:
        assert "alpha_t" in {table.name for table in opened.tables()}


def test_step_that_fails_leaves_nothing_of_any_step() -> None:
    connection = memory()
    apply_migrations(connection, steps("alpha", 1))
    before = schema(connection)
    with pytest.raises(sqlite3.OperationalError):
        apply_migrations(
            connection,
            [*steps("alpha", 3), Migration("beta", 1, "CREATE TABLE beta_t (x); INSERT INTO missing VALUES (1);")],
        )
    assert schema(connection) == before
    assert not connection.in_transaction


@pytest.mark.parametrize("numbers", [[2], [1, 3], [1, 1], [0], [-1, 1]])
def test_numbers_have_neither_gaps_nor_doubles(numbers: list[int]) -> None:
    with pytest.raises(ValueError, match="without gaps"):
        apply_migrations(
            memory(), [Migration("alpha", n, f"CREATE TABLE alpha_{abs(n)}{i} (x);") for i, n in enumerate(numbers)]
        )


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE other (x);",
        "CREATE TABLE beta_x (x);",
        "DROP TABLE vault_object;",
        "DELETE FROM vault_object;",
        "INSERT INTO outbox (peer, path, body, created_ms, next_ms) VALUES ('a', 'b', x'', 0, 0);",
        "ALTER TABLE outbox ADD COLUMN x;",
        "CREATE TRIGGER alpha_spy AFTER INSERT ON outbox BEGIN DELETE FROM alpha_t; END;",
        "CREATE INDEX alpha_i ON outbox (peer);",
        "CREATE TABLE entry (x);",
        "PRAGMA writable_schema = ON;",
        "COMMIT;",
        "ATTACH ':memory:' AS alpha_other;",
    ],
)
def test_plugin_cannot_touch_what_is_not_its_own(sql: str) -> None:
    connection = memory()
    apply_migrations(connection, [*STORE_MIGRATIONS, *steps("alpha", 1)])
    with pytest.raises(sqlite3.DatabaseError, match="not authorized|prohibited"):
        apply_migrations(connection, [*STORE_MIGRATIONS, *steps("alpha", 1), Migration("alpha", 2, sql)])


def test_ledger_alone_may_make_the_public_table_entry() -> None:
    apply_migrations(memory(), [Migration("ledger", 1, "CREATE TABLE entry (idx INTEGER PRIMARY KEY, body BLOB);")])


def test_trigger_with_inner_semicolons_is_one_statement() -> None:
    trigger = "CREATE TRIGGER a AFTER INSERT ON t BEGIN SELECT ';'; DELETE FROM t WHERE x = 'b;'; END;"
    assert list(split_statements(f"-- first; line\nCREATE TABLE t (x);\n\n{trigger} /* end; */ ;")) == [
        "-- first; line\nCREATE TABLE t (x);",
        trigger,
    ]
    with pytest.raises(ValueError, match="semicolon"):
        list(split_statements("CREATE TABLE t (x)"))
