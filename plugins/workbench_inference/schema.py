"""Tables of the sandbox. Document: docs/sandbox-design.md section 5. Texts lie in the vault, never in a column.

Objects of the vault: `inference/ask/<ask>` (question, answer, records), `inference/map/<ask>` (what was redacted), `inference/documents/<sm3>`
(an imported document), `inference/evidence/<lease>/<sm3>` (a sandbox's evidence), `inference/ends/<lease>/<session>-<first>` (ends that a sandbox
signed), `inference/stage/<number>` (what a step of the trial rests on), `inference/volume-key`, `inference/service-key`.
"""

from __future__ import annotations

from typing import Final

from workbench.contracts import Migration

OWNER: Final = "inference"

TENANT_STEP: Final = Migration(
    OWNER,
    1,
    """
    -- A lease, at both ends. side: 'tenant' or 'provider'; order_body: canonical JSON of the order; letter: that carried it.
    CREATE TABLE inference_lease (
        lease      TEXT PRIMARY KEY,
        side       TEXT NOT NULL,
        partner    TEXT NOT NULL,
        state      TEXT NOT NULL,
        image      TEXT NOT NULL,
        pool       TEXT NOT NULL,
        mode       TEXT NOT NULL,
        cards      INTEGER NOT NULL,
        most_cards INTEGER NOT NULL,
        from_ms    INTEGER NOT NULL,
        until_ms   INTEGER NOT NULL,
        order_body BLOB NOT NULL,
        letter     TEXT NOT NULL DEFAULT '',
        price      INTEGER NOT NULL,
        budget_fen INTEGER NOT NULL,
        role       TEXT NOT NULL DEFAULT '',
        started_ms INTEGER NOT NULL DEFAULT 0,
        ended_ms   INTEGER NOT NULL DEFAULT 0,
        cause      TEXT NOT NULL DEFAULT '',
        code       TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX inference_lease_state ON inference_lease (state, until_ms);
    CREATE INDEX inference_lease_from ON inference_lease (from_ms);
    -- Changes within the order; at_s: from that second of the lease on, -1 until the provider has said so.
    CREATE TABLE inference_change (
        lease      TEXT NOT NULL,
        number     INTEGER NOT NULL,
        cards      INTEGER NOT NULL,
        until_ms   INTEGER NOT NULL,
        at_s       INTEGER NOT NULL DEFAULT -1,
        cause      TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (lease, number)
    ) WITHOUT ROWID;
    -- A sandbox that gave evidence. statement: SM3 of the last document; missing: controls that are not on, by spaces.
    CREATE TABLE inference_sandbox (
        sandbox    TEXT PRIMARY KEY,
        lease      TEXT NOT NULL,
        server     TEXT NOT NULL,
        serial     INTEGER NOT NULL DEFAULT 0,
        statement  TEXT NOT NULL DEFAULT '',
        assurance  TEXT NOT NULL DEFAULT '',
        missing    TEXT NOT NULL DEFAULT '',
        session    TEXT NOT NULL DEFAULT '',
        epoch      INTEGER NOT NULL DEFAULT 0,
        started_ms INTEGER NOT NULL,
        ended_ms   INTEGER NOT NULL DEFAULT 0,
        cause      TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX inference_sandbox_lease ON inference_sandbox (lease, started_ms);
    -- Nonces of evidence that was asked for; used_ms: when one was answered, 0 not yet.
    CREATE TABLE inference_nonce (
        nonce      TEXT PRIMARY KEY,
        lease      TEXT NOT NULL,
        asked_ms   INTEGER NOT NULL,
        used_ms    INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX inference_nonce_lease ON inference_nonce (lease, asked_ms);
    -- Asks and what became of them. person: token in evidence; role: under which it was asked. credential: token of the machine that
    -- brought it, "" for a person's own session; customer: token of the customer behind channel `client`.
    CREATE TABLE inference_ask (
        ask        TEXT PRIMARY KEY,
        lease      TEXT NOT NULL DEFAULT '',
        person     TEXT NOT NULL,
        role       TEXT NOT NULL DEFAULT '',
        scenario   TEXT NOT NULL,
        template   TEXT NOT NULL DEFAULT '',
        model      TEXT NOT NULL,
        class      TEXT NOT NULL,
        state      TEXT NOT NULL,
        code       TEXT NOT NULL DEFAULT '',
        asked_ms   INTEGER NOT NULL,
        ended_ms   INTEGER NOT NULL DEFAULT 0,
        tokens_in  INTEGER NOT NULL DEFAULT 0,
        tokens_out INTEGER NOT NULL DEFAULT 0,
        card_ms    INTEGER NOT NULL DEFAULT 0,
        citations  INTEGER NOT NULL DEFAULT 0,
        dropped    INTEGER NOT NULL DEFAULT 0,
        watermark  TEXT NOT NULL DEFAULT '',
        rating     TEXT NOT NULL DEFAULT '',
        reason     TEXT NOT NULL DEFAULT '',
        channel    TEXT NOT NULL DEFAULT 'internal',
        credential TEXT NOT NULL DEFAULT '',
        customer   TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX inference_ask_time ON inference_ask (asked_ms);
    CREATE INDEX inference_ask_person ON inference_ask (person, asked_ms);
    CREATE INDEX inference_ask_lease ON inference_ask (lease, asked_ms);
    CREATE INDEX inference_ask_watermark ON inference_ask (watermark) WHERE watermark <> '';
    -- Customers whose names or numbers an ask held, by token: erased and answered for with them.
    CREATE TABLE inference_ask_customer (
        token      TEXT NOT NULL,
        ask        TEXT NOT NULL,
        PRIMARY KEY (token, ask)
    ) WITHOUT ROWID;
    CREATE INDEX inference_ask_customer_ask ON inference_ask_customer (ask);
    -- Meters as signed by the provider, and what the tenant signed in reply. state: 'open', 'agreed' or 'differs'; reason of a difference.
    CREATE TABLE inference_tick (
        lease      TEXT NOT NULL,
        number     INTEGER NOT NULL,
        body       BLOB NOT NULL,
        signature  BLOB NOT NULL,
        reply      BLOB NOT NULL DEFAULT x'',
        state      TEXT NOT NULL,
        reason     TEXT NOT NULL DEFAULT '',
        at_ms      INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (lease, number)
    ) WITHOUT ROWID;
    -- Statements of account. agreed: 1 once both ends have the same; settled_seconds: -1 unless people settled a difference.
    CREATE TABLE inference_statement (
        lease      TEXT PRIMARY KEY,
        body       BLOB NOT NULL,
        amount_fen INTEGER NOT NULL,
        agreed     INTEGER NOT NULL DEFAULT 0,
        settled_seconds INTEGER NOT NULL DEFAULT -1,
        proposed_by TEXT NOT NULL DEFAULT '',
        reason     TEXT NOT NULL DEFAULT ''
    );
    -- Receipts of erasures as written and signed.
    CREATE TABLE inference_erasure (
        lease      TEXT NOT NULL,
        server     TEXT NOT NULL,
        receipt    BLOB NOT NULL,
        clean      INTEGER NOT NULL,
        received_ms INTEGER NOT NULL,
        PRIMARY KEY (lease, server, received_ms)
    ) WITHOUT ROWID;
    -- Images (tenant: signed; provider: pulled). signature: as written; state: 'signed', 'pulling', 'ready', 'refused'.
    CREATE TABLE inference_image (
        id         TEXT PRIMARY KEY,
        manifest   BLOB NOT NULL,
        signature  BLOB NOT NULL,
        state      TEXT NOT NULL,
        tenant     TEXT NOT NULL DEFAULT '',
        made_ms    INTEGER NOT NULL DEFAULT 0
    );
    -- Corpora, by SM3 of the sealed bytes. file: name of the sealed file; is_synthetic: every document of it is.
    CREATE TABLE inference_corpus (
        digest     TEXT PRIMARY KEY,
        documents  INTEGER NOT NULL,
        passages   INTEGER NOT NULL,
        bytes      INTEGER NOT NULL DEFAULT 0,
        embedder   TEXT NOT NULL DEFAULT '',
        is_synthetic INTEGER NOT NULL DEFAULT 0,
        built_ms   INTEGER NOT NULL
    );
    -- Documents, each version a row; their texts lie in the vault. removed_ms: 0 while in use.
    CREATE TABLE inference_document (
        document   TEXT NOT NULL,
        version    TEXT NOT NULL,
        kind       TEXT NOT NULL,
        title      TEXT NOT NULL DEFAULT '',
        source     TEXT NOT NULL,
        time_ms    INTEGER NOT NULL,
        class      TEXT NOT NULL,
        is_synthetic INTEGER NOT NULL DEFAULT 0,
        sm3        TEXT NOT NULL,
        corpus     TEXT NOT NULL DEFAULT '',
        removed_ms INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (document, version)
    ) WITHOUT ROWID;
    CREATE INDEX inference_document_kind ON inference_document (kind, time_ms);
    -- Which documents may be used for which scenario, by which roles (by spaces), how often, until when. most: 0 without limit.
    CREATE TABLE inference_usage (
        usage      TEXT PRIMARY KEY,
        kind       TEXT NOT NULL,
        source     TEXT NOT NULL DEFAULT '',
        scenario   TEXT NOT NULL,
        roles      TEXT NOT NULL,
        most       INTEGER NOT NULL DEFAULT 0,
        used       INTEGER NOT NULL DEFAULT 0,
        until_ms   INTEGER NOT NULL,
        revoked_ms INTEGER NOT NULL DEFAULT 0,
        by         TEXT NOT NULL
    );
    CREATE INDEX inference_usage_scenario ON inference_usage (scenario, kind);
    -- Prompt templates and rules of content; the text in the vault. kind: 'template' or 'rules'; state: proposed, published, run, retired.
    CREATE TABLE inference_template (
        kind       TEXT NOT NULL,
        name       TEXT NOT NULL,
        version    INTEGER NOT NULL,
        digest     TEXT NOT NULL,
        state      TEXT NOT NULL,
        mode       TEXT NOT NULL DEFAULT 'debug',
        first      TEXT NOT NULL,
        second     TEXT NOT NULL DEFAULT '',
        made_ms    INTEGER NOT NULL,
        PRIMARY KEY (kind, name, version)
    ) WITHOUT ROWID;
    -- What is allowed beyond the defaults, or taken from them; what no row and no default names is denied.
    CREATE TABLE inference_access (
        role       TEXT NOT NULL,
        scenario   TEXT NOT NULL,
        model      TEXT NOT NULL,
        allowed    INTEGER NOT NULL,
        since_ms   INTEGER NOT NULL,
        by         TEXT NOT NULL,
        PRIMARY KEY (role, scenario, model)
    ) WITHOUT ROWID;
    CREATE TABLE inference_cohort (
        person     TEXT PRIMARY KEY,
        invited_by TEXT NOT NULL,
        since_ms   INTEGER NOT NULL,
        until_ms   INTEGER NOT NULL
    );
    -- Steps of the trial. state: proposed, decided, declined, outdated, closed; report: SM3 of the ground, which lies in the vault as
    -- `inference/stage/<number>`; filing: what speaks for going beyond invited customers. The newest decided or closed one counts.
    CREATE TABLE inference_stage (
        number     INTEGER PRIMARY KEY AUTOINCREMENT,
        before     TEXT NOT NULL,
        after      TEXT NOT NULL,
        state      TEXT NOT NULL,
        report     TEXT NOT NULL DEFAULT '',
        filing     TEXT NOT NULL DEFAULT '',
        first      TEXT NOT NULL,
        second     TEXT NOT NULL DEFAULT '',
        made_ms    INTEGER NOT NULL,
        decided_ms INTEGER NOT NULL DEFAULT 0,
        reason     TEXT NOT NULL
    );
    -- Machines that ask through a channel. credential: token in evidence; digest: SM3 of the secret, which is kept nowhere; state:
    -- waiting, live, revoked.
    CREATE TABLE inference_channel (
        credential TEXT PRIMARY KEY,
        name       TEXT NOT NULL,
        channel    TEXT NOT NULL,
        role       TEXT NOT NULL,
        digest     BLOB NOT NULL UNIQUE,
        per_minute INTEGER NOT NULL,
        state      TEXT NOT NULL,
        first      TEXT NOT NULL,
        second     TEXT NOT NULL DEFAULT '',
        made_ms    INTEGER NOT NULL,
        until_ms   INTEGER NOT NULL,
        revoked_ms INTEGER NOT NULL DEFAULT 0
    );
    CREATE UNIQUE INDEX inference_channel_name ON inference_channel (name) WHERE state <> 'revoked';
    -- Who is on duty when, and risks that somebody watches: at both roles.
    CREATE TABLE inference_duty (
        duty       INTEGER PRIMARY KEY AUTOINCREMENT,
        person     TEXT NOT NULL,
        from_ms    INTEGER NOT NULL,
        until_ms   INTEGER NOT NULL,
        note       TEXT NOT NULL DEFAULT '',
        by         TEXT NOT NULL,
        removed_ms INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX inference_duty_until ON inference_duty (until_ms);
    -- level: low, middle, high; state: open, watched, closed; due: last day, yyyy-mm-dd in Asia/Shanghai.
    CREATE TABLE inference_risk (
        risk       INTEGER PRIMARY KEY AUTOINCREMENT,
        title      TEXT NOT NULL,
        level      TEXT NOT NULL,
        owner      TEXT NOT NULL,
        due        TEXT NOT NULL,
        state      TEXT NOT NULL,
        by         TEXT NOT NULL,
        made_ms    INTEGER NOT NULL,
        changed_ms INTEGER NOT NULL
    );
    -- Asks and limits of a person (token), a customer ('customer:' and the token), a role or the institution ('') in a month 'yyyy-mm'; most: -1 for the setting's.
    CREATE TABLE inference_quota (
        whose      TEXT NOT NULL,
        month      TEXT NOT NULL,
        used       INTEGER NOT NULL DEFAULT 0,
        most       INTEGER NOT NULL DEFAULT -1,
        told       INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (whose, month)
    ) WITHOUT ROWID;
    -- Calendar, scaling rule and budget as people set them: canonical JSON by name, newest counts.
    CREATE TABLE inference_schedule (
        name       TEXT PRIMARY KEY,
        rule       BLOB NOT NULL,
        since_ms   INTEGER NOT NULL,
        by         TEXT NOT NULL
    );
    -- Decisions of the scaler with their reasons.
    CREATE TABLE inference_decision (
        number     INTEGER PRIMARY KEY AUTOINCREMENT,
        lease      TEXT NOT NULL,
        time_ms    INTEGER NOT NULL,
        before     INTEGER NOT NULL,
        after      INTEGER NOT NULL,
        queue      INTEGER NOT NULL,
        rule       TEXT NOT NULL DEFAULT '',
        zh         TEXT NOT NULL,
        en         TEXT NOT NULL,
        scaler     TEXT NOT NULL DEFAULT 'processes',
        change_number INTEGER NOT NULL DEFAULT 0,
        code       TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX inference_decision_time ON inference_decision (time_ms);
    CREATE INDEX inference_decision_lease ON inference_decision (lease, number);
    -- Service-key statements of this institution and its partners, as written; the private halves lie in the vault.
    CREATE TABLE inference_service_key (
        party      TEXT NOT NULL,
        number     INTEGER NOT NULL,
        statement  BLOB NOT NULL,
        until_ms   INTEGER NOT NULL,
        PRIMARY KEY (party, number)
    ) WITHOUT ROWID;
    """,
)

PROVIDER_STEP: Final = Migration(
    OWNER,
    2,
    """
    -- Servers, one a card. state: DIRTY, SANITISED, READY, LEASED; image, tenant: that it is ready for, or holds; dedicated: its only tenant.
    CREATE TABLE inference_server (
        server     TEXT PRIMARY KEY,
        state      TEXT NOT NULL,
        image      TEXT NOT NULL DEFAULT '',
        tenant     TEXT NOT NULL DEFAULT '',
        dedicated  TEXT NOT NULL DEFAULT '',
        lease      TEXT NOT NULL DEFAULT '',
        is_drained INTEGER NOT NULL DEFAULT 0,
        changed_ms INTEGER NOT NULL,
        cause      TEXT NOT NULL DEFAULT ''
    );
    -- What runs, written before it starts: pid, start time, groups, namespaces, device of its scratch, as canonical JSON.
    CREATE TABLE inference_pid (
        sandbox    TEXT PRIMARY KEY,
        server     TEXT NOT NULL,
        lease      TEXT NOT NULL DEFAULT '',
        record     BLOB NOT NULL
    );
    CREATE TABLE inference_freeze (
        freeze     INTEGER PRIMARY KEY AUTOINCREMENT,
        from_ms    INTEGER NOT NULL,
        until_ms   INTEGER NOT NULL,
        reason     TEXT NOT NULL,
        by         TEXT NOT NULL,
        removed_ms INTEGER NOT NULL DEFAULT 0
    );
    -- Prices, the newest counts for orders from then on.
    CREATE TABLE inference_tariff (
        since_ms   INTEGER PRIMARY KEY,
        fen_per_card_minute INTEGER NOT NULL,
        by         TEXT NOT NULL
    );
    """,
)

MIGRATIONS: Final = (TENANT_STEP, PROVIDER_STEP)
"""Both on every node: which role a node has is a setting. A released step is never changed, only followed."""

__all__ = ["MIGRATIONS", "OWNER"]
