"""The service's own tables, beside those of the key store. Document: key-delivery.md section 5."""

from __future__ import annotations

from workbench.contracts import Migration

SERVICE_MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        "service",
        1,
        """
        CREATE TABLE service_line (
            line       TEXT PRIMARY KEY,
            next_block INTEGER NOT NULL DEFAULT 0,
            policy     TEXT NOT NULL,
            paused     INTEGER NOT NULL DEFAULT 0,
            eve_kind   TEXT NOT NULL DEFAULT '',
            eve_ppm    INTEGER NOT NULL DEFAULT 0,
            pool_key   BLOB,
            pool       BLOB
        ) WITHOUT ROWID;
        CREATE TABLE service_block (
            line                TEXT NOT NULL,
            block               INTEGER NOT NULL,
            time_ms             INTEGER NOT NULL,
            duration_ms         INTEGER NOT NULL,
            provenance          TEXT NOT NULL,
            state               TEXT NOT NULL,
            aborted             TEXT NOT NULL,
            pulses              INTEGER NOT NULL,
            sifted              INTEGER NOT NULL,
            qber                REAL NOT NULL,
            leak_bits           INTEGER NOT NULL,
            efficiency          REAL NOT NULL,
            rounds              INTEGER NOT NULL,
            length_bits         INTEGER NOT NULL,
            rate                REAL NOT NULL,
            rate_bps            REAL NOT NULL,
            authentication_bits INTEGER NOT NULL,
            epsilon             REAL NOT NULL,
            keys                INTEGER NOT NULL,
            alarm               TEXT NOT NULL,
            counts              TEXT NOT NULL,
            PRIMARY KEY (line, block)
        ) WITHOUT ROWID;
        CREATE TABLE service_alarm (
            number     INTEGER PRIMARY KEY AUTOINCREMENT,
            line       TEXT NOT NULL,
            kind       TEXT NOT NULL,
            block      INTEGER NOT NULL,
            raised_ms  INTEGER NOT NULL,
            cleared_ms INTEGER NOT NULL DEFAULT 0,
            value      REAL NOT NULL,
            threshold  REAL NOT NULL
        );
        CREATE UNIQUE INDEX service_alarm_open ON service_alarm (line, kind) WHERE cleared_ms = 0;
        CREATE TABLE service_used (
            name    TEXT PRIMARY KEY,
            time_ms INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE service_told (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            line   TEXT NOT NULL,
            body   TEXT NOT NULL
        );
        CREATE INDEX service_told_line ON service_told (line, number);
        """,
    ),
    Migration(
        "service",
        2,
        """
        -- Self-tests, the newest ones. tests: canonical JSON; told: whether its event is written.
        CREATE TABLE service_check (
            number  INTEGER PRIMARY KEY AUTOINCREMENT,
            time_ms INTEGER NOT NULL,
            took_ms INTEGER NOT NULL,
            cause   TEXT NOT NULL,
            passed  INTEGER NOT NULL,
            vectors TEXT NOT NULL,
            version TEXT NOT NULL,
            tests   TEXT NOT NULL,
            told    INTEGER NOT NULL DEFAULT 0
        );
        """,
    ),
)
"""`service_told`: what the other end must still be told (withdrawals), oldest first."""
