"""The tables of the ledger. Document: docs/protocols/evidence.md section 11.

Triggers refuse what an append-only log never does. They are a guard rail against mistakes, not a protection: whoever
can write the file can drop them, and is found by the audit and the mirrors.
"""

from __future__ import annotations

from workbench.contracts import Migration

OWNER = "ledger"

_TABLES = """
-- The own log: idx from 0 without gaps, body as in section 1 of the document. A public name.
CREATE TABLE entry (
    idx  INTEGER PRIMARY KEY,
    body BLOB NOT NULL
);
-- Envelopes of the other institutions' logs, byte for byte.
CREATE TABLE ledger_mirror_entry (
    origin TEXT NOT NULL,
    idx    INTEGER NOT NULL,
    body   BLOB NOT NULL,
    PRIMARY KEY (origin, idx)
) WITHOUT ROWID;
-- Every leaf (level 0) and every perfect subtree of 16 leaves and more (level >= 4), 32 bytes in each tree.
CREATE TABLE ledger_node (
    log    TEXT NOT NULL,
    level  INTEGER NOT NULL,
    idx    INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    sm3    BLOB NOT NULL,
    PRIMARY KEY (log, level, idx)
) WITHOUT ROWID;
-- Size and frontier of each log: the peaks one after another, largest first.
CREATE TABLE ledger_head (
    log    TEXT PRIMARY KEY,
    size   INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    sm3    BLOB NOT NULL
) WITHOUT ROWID;
-- Signed tree heads: the signed text and the log's own signature line.
CREATE TABLE ledger_checkpoint (
    log      TEXT NOT NULL,
    size     INTEGER NOT NULL,
    text     TEXT NOT NULL,
    log_line TEXT NOT NULL,
    PRIMARY KEY (log, size)
) WITHOUT ROWID;
-- Both lines of each co-signer of a tree head.
CREATE TABLE ledger_cosignature (
    log    TEXT NOT NULL,
    size   INTEGER NOT NULL,
    signer TEXT NOT NULL,
    time_s INTEGER NOT NULL,
    lines  TEXT NOT NULL,
    PRIMARY KEY (log, size, signer)
) WITHOUT ROWID;
CREATE INDEX ledger_cosignature_signer ON ledger_cosignature (log, signer, size);
-- For every set of co-signers (party ids, ascending, one space between) the largest tree head that has it.
CREATE TABLE ledger_seal (
    log     TEXT NOT NULL,
    signers TEXT NOT NULL,
    size    INTEGER NOT NULL,
    PRIMARY KEY (log, signers)
) WITHOUT ROWID;
-- As mirror: the state that is on disk and that the next co-signature must continue; written before signing.
CREATE TABLE ledger_witness_state (
    origin TEXT PRIMARY KEY,
    size   INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    sm3    BLOB NOT NULL
) WITHOUT ROWID;
-- As log: from where each mirror wants entries, and whose co-signatures of which tree head it knows.
CREATE TABLE ledger_peer (
    peer  TEXT PRIMARY KEY,
    held  INTEGER NOT NULL,
    size  INTEGER NOT NULL,
    known TEXT NOT NULL
) WITHOUT ROWID;
-- Signed tree heads shown by others that cover more than this node holds; compared once it does.
CREATE TABLE ledger_seen (
    log  TEXT NOT NULL,
    size INTEGER NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (log, size, note)
) WITHOUT ROWID;
-- Two signed heads that contradict each other, kept for ever. held_note may be "" when nothing was signed yet.
CREATE TABLE ledger_conflict (
    number       INTEGER PRIMARY KEY,
    log          TEXT NOT NULL,
    size         INTEGER NOT NULL,
    found_ms     INTEGER NOT NULL,
    problem      TEXT NOT NULL,
    idx          INTEGER,
    field        TEXT NOT NULL,
    held_note    TEXT NOT NULL,
    offered_note TEXT NOT NULL,
    UNIQUE (log, problem, offered_note)
);
-- Refused requests of other logs, one row for each log, reason and size.
CREATE TABLE ledger_refusal (
    log      TEXT NOT NULL,
    code     TEXT NOT NULL,
    size     INTEGER NOT NULL,
    found_ms INTEGER NOT NULL,
    PRIMARY KEY (log, code, size)
) WITHOUT ROWID;
"""

# Not `entry`: anybody may try to edit a row of it with sqlite3 and see that the audit finds it (decision 6).
_KEPT_FOR_EVER = (
    "ledger_mirror_entry",
    "ledger_node",
    "ledger_checkpoint",
    "ledger_cosignature",
    "ledger_conflict",
    "ledger_refusal",
)


def _guards() -> str:
    statements = []
    for table in _KEPT_FOR_EVER:
        short = table.removeprefix("ledger_")
        for action in ("UPDATE", "DELETE"):
            statements.append(
                f"CREATE TRIGGER ledger_keep_{short}_{action.lower()} BEFORE {action} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;"
            )
    statements.append(
        "CREATE TRIGGER ledger_next_entry BEFORE INSERT ON entry "
        "WHEN NEW.idx <> (SELECT coalesce(max(idx) + 1, 0) FROM entry) "
        "BEGIN SELECT RAISE(ABORT, 'entry grows by one at its end'); END;"
    )
    for table in ("ledger_head", "ledger_witness_state"):
        statements.append(
            f"CREATE TRIGGER {table}_grows BEFORE UPDATE ON {table} WHEN NEW.size < OLD.size "
            f"BEGIN SELECT RAISE(ABORT, '{table} does not shrink'); END;"
        )
        statements.append(
            f"CREATE TRIGGER {table}_stays BEFORE DELETE ON {table} BEGIN SELECT RAISE(ABORT, '{table} is kept'); END;"
        )
    return "\n".join(statements)


# docs/protocols/ledger.md
_SECOND = """
-- As ledger_seal, for co-signers whose co-signature carries an ML-DSA-44 line that verified (section 1).
CREATE TABLE ledger_seal_mldsa (
    log     TEXT NOT NULL,
    signers TEXT NOT NULL,
    size    INTEGER NOT NULL,
    PRIMARY KEY (log, signers)
) WITHOUT ROWID;
-- Entries about members in all logs (section 7); valid: of a change that holds, its approvals were found and agree.
CREATE TABLE ledger_membership (
    log    TEXT NOT NULL,
    idx    INTEGER NOT NULL,
    kind   TEXT NOT NULL,
    change TEXT NOT NULL,
    action TEXT NOT NULL,
    party  TEXT NOT NULL,
    valid  INTEGER NOT NULL,
    PRIMARY KEY (log, idx)
) WITHOUT ROWID;
-- Own entries fetched back from a mirror, until they are complete and fit the own signed head (section 5).
CREATE TABLE ledger_restoring (
    idx    INTEGER PRIMARY KEY,
    body   BLOB NOT NULL,
    mirror TEXT NOT NULL
);
-- Stretches of own entries that came back from mirrors, until index, replay and evidence of it are done too.
CREATE TABLE ledger_restored (
    start   INTEGER PRIMARY KEY,
    stop    INTEGER NOT NULL,
    mirrors TEXT NOT NULL
);
-- Which contradictions (ledger_conflict.number) have been passed on to whom (section 6).
CREATE TABLE ledger_conflict_told (
    number INTEGER NOT NULL,
    party  TEXT NOT NULL,
    PRIMARY KEY (number, party)
) WITHOUT ROWID;
"""

_THIRD = """
-- What shows to everybody that two heads of different sizes contradict each other (section 6), "" where nothing does.
ALTER TABLE ledger_conflict ADD COLUMN prefix TEXT NOT NULL DEFAULT '';
"""

MIGRATIONS: tuple[Migration, ...] = (
    Migration(OWNER, 1, _TABLES + _guards()),
    Migration(OWNER, 2, _SECOND),
    Migration(OWNER, 3, _THIRD),
)
"""The steps of this plugin's tables; a released step is never changed, only followed."""
