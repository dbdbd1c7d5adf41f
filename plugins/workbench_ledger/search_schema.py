"""The tables of the search index. They can be made anew from the logs at any time; nothing rests on them.

No identifier and no token of a customer is in them: what they hold stands in the envelopes that every mirror has.
"""

from __future__ import annotations

from workbench.contracts import Migration

OWNER = "ledger_search"

MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        OWNER,
        1,
        """
        -- Kinds, jobs, persons' tokens, campaigns and sets of participants by number; 0 stands for none.
        CREATE TABLE ledger_search_word (
            id   INTEGER PRIMARY KEY,
            word TEXT NOT NULL UNIQUE
        );
        -- One row an entry. kind 0: the body is no envelope. need: the word of what makes it sealed.
        CREATE TABLE ledger_search_entry (
            log      TEXT NOT NULL,
            idx      INTEGER NOT NULL,
            time_ms  INTEGER NOT NULL,
            kind     INTEGER NOT NULL,
            job      INTEGER NOT NULL,
            actor    INTEGER NOT NULL,
            campaign INTEGER NOT NULL,
            need     INTEGER NOT NULL,
            PRIMARY KEY (log, idx)
        ) WITHOUT ROWID;
        CREATE INDEX ledger_search_by_time ON ledger_search_entry (time_ms, log, idx);
        CREATE INDEX ledger_search_by_log ON ledger_search_entry (log, time_ms, idx);
        CREATE INDEX ledger_search_by_kind ON ledger_search_entry (kind, time_ms, log, idx);
        CREATE INDEX ledger_search_by_job ON ledger_search_entry (job, time_ms, log, idx) WHERE job > 0;
        CREATE INDEX ledger_search_by_actor ON ledger_search_entry (actor, time_ms, log, idx) WHERE actor > 0;
        CREATE INDEX ledger_search_by_campaign ON ledger_search_entry (campaign, time_ms, log, idx) WHERE campaign > 0;
        -- The first 8 bytes of every digest that belongs to an entry, as a signed number; a hit is compared in full.
        CREATE TABLE ledger_search_term (
            term INTEGER NOT NULL,
            log  TEXT NOT NULL,
            idx  INTEGER NOT NULL,
            PRIMARY KEY (term, log, idx)
        ) WITHOUT ROWID;
        -- Which sets of participants occur in a log.
        CREATE TABLE ledger_search_need (
            log  TEXT NOT NULL,
            need INTEGER NOT NULL,
            PRIMARY KEY (log, need)
        ) WITHOUT ROWID;
        -- How far each log is read, by which version of the index, and the leaf of the last entry read: another leaf
        -- there means another history, and the index of that log is made anew.
        CREATE TABLE ledger_search_state (
            log     TEXT PRIMARY KEY,
            version INTEGER NOT NULL,
            covered INTEGER NOT NULL,
            leaf    BLOB NOT NULL
        ) WITHOUT ROWID;
        """,
    ),
)
"""Of an owner of their own, so that steps of the ledger's tables and of its index are numbered apart."""
