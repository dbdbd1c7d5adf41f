"""Tables of the host in evidence.db. The ledger owns `entry`; the store owns vault, openings and outbox."""

from __future__ import annotations

from workbench.contracts import Migration

HOST_MIGRATIONS = (
    Migration(
        owner="host",
        number=1,
        sql="""
        CREATE TABLE host_person (
            person TEXT PRIMARY KEY,
            display_name TEXT NOT NULL,
            token TEXT NOT NULL UNIQUE,
            roles TEXT NOT NULL,
            password_hash TEXT NOT NULL,
            disabled_ms INTEGER,
            failures INTEGER NOT NULL DEFAULT 0,
            locked_until_ms INTEGER NOT NULL DEFAULT 0
        );
        CREATE TABLE host_ticket (
            digest BLOB PRIMARY KEY,
            person TEXT NOT NULL REFERENCES host_person(person),
            audience TEXT NOT NULL,
            kernel INTEGER NOT NULL,
            issued_ms INTEGER NOT NULL,
            expires_ms INTEGER NOT NULL,
            renewable_until_ms INTEGER NOT NULL
        );
        CREATE TABLE host_confirmation (
            digest BLOB PRIMARY KEY,
            person TEXT NOT NULL REFERENCES host_person(person),
            action_digest TEXT NOT NULL,
            expires_ms INTEGER NOT NULL
        );
        CREATE TABLE host_action (
            action TEXT PRIMARY KEY,
            person TEXT NOT NULL,
            operation TEXT NOT NULL,
            digest TEXT NOT NULL,
            state TEXT NOT NULL,
            reply TEXT,
            created_ms INTEGER NOT NULL,
            expires_ms INTEGER NOT NULL
        );
        CREATE TABLE host_list (
            list TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            owner TEXT NOT NULL,
            source TEXT NOT NULL,
            subjects TEXT NOT NULL,
            method TEXT NOT NULL,
            data_class TEXT NOT NULL,
            lawful_basis TEXT NOT NULL,
            rows INTEGER NOT NULL,
            tags TEXT NOT NULL,
            report TEXT NOT NULL,
            root TEXT NOT NULL,
            created_ms INTEGER NOT NULL,
            created_by TEXT NOT NULL,
            erased_ms INTEGER
        );
        CREATE TABLE host_job (
            job TEXT PRIMARY KEY,
            side TEXT NOT NULL,
            partner TEXT NOT NULL,
            state TEXT NOT NULL,
            attempt INTEGER NOT NULL DEFAULT 0,
            terms TEXT NOT NULL,
            request TEXT NOT NULL,
            waterfall TEXT NOT NULL DEFAULT '[]',
            progress TEXT NOT NULL DEFAULT '{}',
            result TEXT NOT NULL DEFAULT '{}',
            error TEXT NOT NULL DEFAULT '{}',
            proposed_by TEXT NOT NULL DEFAULT '',
            approved_by TEXT NOT NULL DEFAULT '',
            created_ms INTEGER NOT NULL,
            updated_ms INTEGER NOT NULL
        );
        CREATE INDEX host_job_updated ON host_job(updated_ms);
        CREATE TABLE host_attempt (
            job TEXT NOT NULL REFERENCES host_job(job),
            attempt INTEGER NOT NULL,
            started_ms INTEGER NOT NULL,
            ended_ms INTEGER,
            state TEXT NOT NULL,
            partner TEXT NOT NULL,
            purpose TEXT NOT NULL,
            bytes INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (job, attempt)
        );
        CREATE TABLE host_trust_change (
            number INTEGER PRIMARY KEY,
            body BLOB NOT NULL
        );
        CREATE TABLE host_trust_proposal (
            digest TEXT PRIMARY KEY,
            body BLOB NOT NULL,
            proposed_by TEXT NOT NULL,
            created_ms INTEGER NOT NULL
        );
        CREATE TABLE host_download (
            download TEXT PRIMARY KEY,
            person TEXT NOT NULL,
            name TEXT NOT NULL,
            vault_name TEXT NOT NULL,
            expires_ms INTEGER NOT NULL
        );
        """,
    ),
    # When an account ends by itself: the regulator's seat is for a limited time. NULL for never.
    Migration(owner="host", number=2, sql="ALTER TABLE host_person ADD COLUMN until_ms INTEGER;"),
    # Who added an account and whether a second administrator has yet to confirm it; until when its password is a one-time
    # one, NULL once its person set their own. Replies to confirmed actions lie in the vault from now on.
    Migration(
        owner="host",
        number=3,
        sql="""
        ALTER TABLE host_person ADD COLUMN added_by TEXT NOT NULL DEFAULT '';
        ALTER TABLE host_person ADD COLUMN waits INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE host_person ADD COLUMN first_until_ms INTEGER;
        UPDATE host_action SET reply = NULL;
        """,
    ),
    # Letters to and from other institutions (docs/protocols/letters.md). The body of one that waits lies in the vault. An
    # incoming one keeps the header of its acknowledgement, an outgoing one the signed acknowledgement as it came.
    Migration(
        owner="host",
        number=4,
        sql="""
        CREATE TABLE host_letter (
            direction TEXT NOT NULL,
            peer TEXT NOT NULL,
            letter TEXT NOT NULL,
            kind TEXT NOT NULL,
            job TEXT NOT NULL,
            digest TEXT NOT NULL,
            header BLOB NOT NULL,
            posted_ms INTEGER NOT NULL,
            acknowledged_ms INTEGER,
            code TEXT NOT NULL DEFAULT '',
            acknowledgement BLOB NOT NULL DEFAULT x'',
            answer BLOB NOT NULL DEFAULT x'',
            outbox INTEGER,
            PRIMARY KEY (direction, peer, letter)
        );
        CREATE UNIQUE INDEX host_letter_sent ON host_letter (letter) WHERE direction = 'out';
        CREATE INDEX host_letter_taken ON host_letter (peer, acknowledged_ms) WHERE direction = 'in';
        """,
    ),
    # Withdrawals on their way to partners and staff (docs/protocols/withdrawal.md). No identifier and no token of a customer but
    # in host_stopped: a keyed token of job and value, which keeps whom a partner has stopped out of exports.
    Migration(
        owner="host",
        number=5,
        sql="""
        CREATE TABLE host_withdrawal (
            event INTEGER PRIMARY KEY,
            at_ms INTEGER NOT NULL,
            entry INTEGER NOT NULL,
            purpose TEXT NOT NULL,
            recipient TEXT NOT NULL,
            waiting TEXT NOT NULL,
            searched_ms INTEGER,
            gone TEXT NOT NULL DEFAULT ''
        );
        CREATE INDEX host_withdrawal_open ON host_withdrawal (event) WHERE searched_ms IS NULL OR waiting <> '[]';
        CREATE TABLE host_withdrawal_letter (
            letter TEXT PRIMARY KEY,
            event INTEGER NOT NULL REFERENCES host_withdrawal(event),
            partner TEXT NOT NULL,
            jobs TEXT NOT NULL,
            due_ms INTEGER NOT NULL
        );
        CREATE INDEX host_withdrawal_letter_event ON host_withdrawal_letter (event);
        CREATE TABLE host_stopped (
            job TEXT NOT NULL,
            customer BLOB NOT NULL,
            partner TEXT NOT NULL,
            at_ms INTEGER NOT NULL,
            PRIMARY KEY (job, customer)
        ) WITHOUT ROWID;
        CREATE TABLE host_contact_stop (
            number INTEGER PRIMARY KEY,
            origin TEXT NOT NULL,
            cause TEXT NOT NULL,
            job TEXT NOT NULL,
            export INTEGER NOT NULL,
            file_sm3 TEXT NOT NULL,
            exported_ms INTEGER NOT NULL,
            exported_by TEXT NOT NULL,
            at_ms INTEGER NOT NULL,
            taken_ms INTEGER,
            taken_by TEXT NOT NULL DEFAULT '',
            UNIQUE (origin, cause, job, export)
        );
        """,
    ),
)
