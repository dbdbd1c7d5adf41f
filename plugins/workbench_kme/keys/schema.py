"""The tables of the key store, in an SQLite file of its own.

Document: docs/protocols/key-delivery.md sections 1 and 2. Columns `state` and `provenance` hold the numbers of model.py. Counts by
state are kept by triggers, so that no stock is ever counted row by row.
"""

from __future__ import annotations

from workbench.contracts import Migration

KEY_MIGRATIONS = (
    Migration(
        "kme",
        1,
        """
        CREATE TABLE kme_meta (
            only       INTEGER PRIMARY KEY CHECK (only = 1),
            store      BLOB NOT NULL,
            generation INTEGER NOT NULL,
            clock_ms   INTEGER NOT NULL,
            unproven   TEXT NOT NULL DEFAULT ''
        );
        CREATE TABLE kme_kek (
            kek    BLOB PRIMARY KEY,
            sealed INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE kme_line (
            number         INTEGER PRIMARY KEY,
            name           TEXT NOT NULL UNIQUE,
            namespace      BLOB NOT NULL UNIQUE,
            sender         TEXT NOT NULL,
            receiver       TEXT NOT NULL,
            own            TEXT NOT NULL,
            low_water      INTEGER NOT NULL,
            kept_back      INTEGER NOT NULL,
            max_keys       INTEGER NOT NULL,
            lifetime_ms    INTEGER NOT NULL,
            reservation_ms INTEGER NOT NULL,
            begun_ms       INTEGER NOT NULL,
            next_block     INTEGER NOT NULL DEFAULT 0,
            confirmed      INTEGER NOT NULL DEFAULT 0
        );
        CREATE TABLE kme_pool (
            line         INTEGER NOT NULL REFERENCES kme_line,
            pool         INTEGER NOT NULL,
            used_block   INTEGER,
            used_index   INTEGER,
            floor_block  INTEGER,
            floor_index  INTEGER,
            PRIMARY KEY (line, pool)
        ) WITHOUT ROWID;
        CREATE TABLE kme_block (
            line       INTEGER NOT NULL REFERENCES kme_line,
            block      INTEGER NOT NULL,
            count      INTEGER NOT NULL,
            provenance INTEGER NOT NULL,
            chk        BLOB NOT NULL,
            made_ms    INTEGER NOT NULL,
            stored_ms  INTEGER,
            open       INTEGER NOT NULL DEFAULT 0,
            stored0    INTEGER NOT NULL DEFAULT 0,
            stored1    INTEGER NOT NULL DEFAULT 0,
            mix0       INTEGER NOT NULL DEFAULT 0,
            mix1       INTEGER NOT NULL DEFAULT 0,
            suspect    INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (line, block)
        ) WITHOUT ROWID;
        CREATE INDEX kme_block_open ON kme_block (line, block) WHERE open > 0;
        CREATE INDEX kme_block_suspect ON kme_block (line, block) WHERE suspect = 1;
        CREATE TABLE kme_key (
            number       INTEGER PRIMARY KEY,
            id           BLOB NOT NULL UNIQUE,
            line         INTEGER NOT NULL,
            block        INTEGER NOT NULL,
            idx          INTEGER NOT NULL,
            pool         INTEGER NOT NULL,
            mix          INTEGER NOT NULL,
            state        INTEGER NOT NULL,
            expires_ms   INTEGER NOT NULL,
            wrapped      BLOB,
            size         INTEGER NOT NULL DEFAULT 0,
            master       TEXT NOT NULL DEFAULT '',
            slaves       TEXT NOT NULL DEFAULT '',
            reserved_ms  INTEGER,
            delivered_ms INTEGER,
            consumed_ms  INTEGER,
            ended_ms     INTEGER,
            FOREIGN KEY (line, block) REFERENCES kme_block,
            UNIQUE (line, block, idx)
        );
        CREATE INDEX kme_key_free ON kme_key (line, pool, block, idx) WHERE state = 2;
        CREATE INDEX kme_key_reserved ON kme_key (line, pool, block, idx) WHERE state = 3;
        CREATE INDEX kme_key_expiry ON kme_key (expires_ms) WHERE state IN (1, 2, 3);
        CREATE INDEX kme_key_ended ON kme_key (ended_ms) WHERE ended_ms IS NOT NULL;
        CREATE TABLE kme_use (
            key  INTEGER NOT NULL REFERENCES kme_key,
            role TEXT NOT NULL,
            time_ms INTEGER NOT NULL,
            PRIMARY KEY (key, role)
        ) WITHOUT ROWID;
        CREATE TABLE kme_reference (
            number    INTEGER PRIMARY KEY,
            key       INTEGER NOT NULL REFERENCES kme_key,
            time_ms   INTEGER NOT NULL,
            sae       TEXT NOT NULL,
            purpose   TEXT NOT NULL,
            reference TEXT NOT NULL
        );
        CREATE INDEX kme_reference_key ON kme_reference (key);
        CREATE TABLE kme_count (
            line  INTEGER NOT NULL,
            pool  INTEGER NOT NULL,
            state INTEGER NOT NULL,
            keys  INTEGER NOT NULL,
            PRIMARY KEY (line, pool, state)
        ) WITHOUT ROWID;
        CREATE TRIGGER kme_key_inserted AFTER INSERT ON kme_key BEGIN
            UPDATE kme_count SET keys = keys + 1 WHERE line = NEW.line AND pool = NEW.pool AND state = NEW.state;
            UPDATE kme_block SET open = open + (NEW.state IN (1, 2)),
                stored0 = stored0 + (NEW.state = 2 AND NEW.pool = 0), stored1 = stored1 + (NEW.state = 2 AND NEW.pool = 1),
                mix0 = mix0 + NEW.mix * (NEW.state = 2 AND NEW.pool = 0), mix1 = mix1 + NEW.mix * (NEW.state = 2 AND NEW.pool = 1)
                WHERE line = NEW.line AND block = NEW.block;
        END;
        CREATE TRIGGER kme_key_moved AFTER UPDATE OF state ON kme_key WHEN OLD.state <> NEW.state BEGIN
            UPDATE kme_count SET keys = keys - 1 WHERE line = OLD.line AND pool = OLD.pool AND state = OLD.state;
            UPDATE kme_count SET keys = keys + 1 WHERE line = NEW.line AND pool = NEW.pool AND state = NEW.state;
            UPDATE kme_block SET open = open + (NEW.state IN (1, 2)) - (OLD.state IN (1, 2)),
                stored0 = stored0 + ((NEW.state = 2) - (OLD.state = 2)) * (NEW.pool = 0),
                stored1 = stored1 + ((NEW.state = 2) - (OLD.state = 2)) * (NEW.pool = 1),
                mix0 = mix0 + ((NEW.state = 2) - (OLD.state = 2)) * (NEW.pool = 0) * NEW.mix,
                mix1 = mix1 + ((NEW.state = 2) - (OLD.state = 2)) * (NEW.pool = 1) * NEW.mix
                WHERE line = NEW.line AND block = NEW.block;
        END;
        CREATE TRIGGER kme_key_forgotten AFTER DELETE ON kme_key BEGIN
            UPDATE kme_count SET keys = keys - 1 WHERE line = OLD.line AND pool = OLD.pool AND state = OLD.state;
        END;
        CREATE TABLE kme_minute (
            line   INTEGER NOT NULL,
            pool   INTEGER NOT NULL,
            minute INTEGER NOT NULL,
            taken  INTEGER NOT NULL DEFAULT 0,
            made   INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (line, pool, minute)
        ) WITHOUT ROWID;
        CREATE TABLE kme_sae (
            sae        TEXT PRIMARY KEY,
            registered INTEGER NOT NULL,
            burst      INTEGER NOT NULL,
            per_minute INTEGER NOT NULL,
            priority   INTEGER NOT NULL,
            tokens     INTEGER NOT NULL,
            at_ms      INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE kme_event (
            number  INTEGER PRIMARY KEY AUTOINCREMENT,
            time_ms INTEGER NOT NULL,
            kind    TEXT NOT NULL,
            line    TEXT NOT NULL,
            facts   TEXT NOT NULL
        );
        CREATE TABLE kme_charge_pool (
            number       INTEGER PRIMARY KEY,
            line         INTEGER NOT NULL REFERENCES kme_line,
            person       TEXT NOT NULL,
            device       TEXT NOT NULL,
            low_water    INTEGER NOT NULL,
            last_counter INTEGER NOT NULL DEFAULT 0,
            revoked_ms   INTEGER,
            UNIQUE (person, device, line)
        );
        CREATE TABLE kme_charge_key (
            pool    INTEGER NOT NULL REFERENCES kme_charge_pool,
            counter INTEGER NOT NULL,
            wrapped BLOB,
            used_ms INTEGER,
            PRIMARY KEY (pool, counter)
        ) WITHOUT ROWID;
        CREATE INDEX kme_charge_free ON kme_charge_key (pool, counter) WHERE wrapped IS NOT NULL;
        CREATE TABLE kme_charge_session (
            session   TEXT PRIMARY KEY,
            pool      INTEGER NOT NULL REFERENCES kme_charge_pool,
            counter   INTEGER NOT NULL,
            opened_ms INTEGER NOT NULL,
            ended_ms  INTEGER
        ) WITHOUT ROWID;
        CREATE INDEX kme_charge_live ON kme_charge_session (pool) WHERE ended_ms IS NULL;
        """,
    ),
    Migration(
        "kme",
        2,
        """
        -- Of a registered SAE, beside its row of kme_sae: keys an hour besides those a minute, and how many it may keep reserved.
        CREATE TABLE kme_sae_limit (
            sae           TEXT PRIMARY KEY,
            per_hour      INTEGER NOT NULL,
            most_reserved INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX kme_key_of_master ON kme_key (master) WHERE state = 3;
        """,
    ),
    Migration(
        "kme",
        3,
        """
        -- Tag of whom a line belongs to; part of its namespace.
        ALTER TABLE kme_line ADD COLUMN tenant TEXT NOT NULL DEFAULT '';
        """,
    ),
)
"""The tables of this package."""
