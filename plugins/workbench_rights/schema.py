"""Tables, kinds of evidence and settings of the rights desk. Document: docs/rights.md section 10."""

from __future__ import annotations

from workbench.contracts import Migration, Setting
from workbench.domain.evidence import EvidenceKind, Field, Visibility, closed, personal

OWNER = "rights"

MIGRATIONS = (
    Migration(
        OWNER,
        1,
        """
        CREATE TABLE rights_request (
            request      TEXT PRIMARY KEY,
            kind         TEXT NOT NULL,
            state        TEXT NOT NULL,
            channel      TEXT NOT NULL,
            applicant    TEXT NOT NULL,
            received_ms  INTEGER NOT NULL,
            due_day      TEXT NOT NULL,
            due_ms       INTEGER NOT NULL,
            is_estimated INTEGER NOT NULL,
            is_extended  INTEGER NOT NULL DEFAULT 0,
            method       TEXT NOT NULL DEFAULT '',
            identified_by TEXT NOT NULL DEFAULT '',
            identified_ms INTEGER NOT NULL DEFAULT 0,
            decided_by   TEXT NOT NULL DEFAULT '',
            decided_ms   INTEGER NOT NULL DEFAULT 0,
            decision     TEXT NOT NULL DEFAULT '',
            answered_ms  INTEGER NOT NULL DEFAULT 0,
            erasure      TEXT NOT NULL DEFAULT '',
            complaint    TEXT NOT NULL DEFAULT '',
            created_by   TEXT NOT NULL
        );
        CREATE INDEX rights_request_due ON rights_request (due_ms);
        CREATE TABLE rights_subject (
            ref  TEXT NOT NULL,
            name TEXT NOT NULL,
            PRIMARY KEY (ref, name)
        ) WITHOUT ROWID;
        CREATE INDEX rights_subject_name ON rights_subject (name);
        CREATE TABLE rights_restriction (
            request  TEXT NOT NULL,
            name     TEXT NOT NULL,
            from_ms  INTEGER NOT NULL,
            until_ms INTEGER,
            PRIMARY KEY (request, name)
        ) WITHOUT ROWID;
        """,
    ),
)


_REQUEST = closed("request", "权利请求编号", "number of the rights request")
_REASON = personal("reason", "理由", "reason")

EVIDENCE_KINDS: tuple[EvidenceKind, ...] = (
    EvidenceKind(
        "rights.received",
        (
            _REQUEST,
            personal("kind", "请求的种类", "what was asked"),
            personal("channel", "渠道", "channel"),
            personal("applicant", "由谁提出", "who asked"),
            closed("due", "答复期限", "day by which it is answered"),
        ),
        "受理一项客户权利请求",
        "a customer's rights request was received",
    ),
    EvidenceKind(
        "rights.identified",
        (
            _REQUEST,
            personal("method", "核身方式", "how the identity was checked"),
            personal("outcome", "核身结果", "outcome"),
            personal("note", "核身说明", "note on the check"),
        ),
        "核实权利请求人的身份",
        "the identity of whoever asked was checked",
    ),
    EvidenceKind(
        "rights.decided",
        (_REQUEST, personal("decision", "决定", "decision"), _REASON),
        "对一项权利请求作出决定",
        "a rights request was decided",
    ),
    EvidenceKind(
        "rights.extended",
        (_REQUEST, closed("due", "新的答复期限", "new day"), _REASON),
        "延长一项权利请求的答复期限",
        "the time to answer a rights request was extended",
    ),
    EvidenceKind(
        "rights.answered",
        (
            _REQUEST,
            personal("records", "答复中的记录数", "records in the answer", "1"),
            personal("file_sm3", "答复文件的 SM3", "SM3 of the answer's file"),
        ),
        "生成一项权利请求的答复",
        "the answer to a rights request was made",
    ),
    EvidenceKind(
        "rights.viewed",
        (_REQUEST, personal("what", "查看的内容", "what was looked at")),
        "查看一位客户的权利请求或说明",
        "somebody looked at a customer's rights request or explanation",
    ),
    EvidenceKind(
        "rights.restricted",
        (
            _REQUEST,
            _REASON,
            Field("recovery", Visibility.SHARED, "本机构恢复旧副本时所需，已加密", "what this institution needs after a restore, sealed"),
        ),
        "客户限制处理，立即生效",
        "a customer restricts processing, effective at once",
    ),
    EvidenceKind(
        "rights.restriction_lifted",
        (_REQUEST, _REASON),
        "客户的限制处理结束",
        "a customer's restriction of processing ended",
    ),
    EvidenceKind(
        "rights.closed",
        (_REQUEST, _REASON),
        "权利请求撤回或结束",
        "a rights request was taken back",
    ),
)

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "rights.reply_working_days", int, 15, "d",
        "权利请求的答复期限，工作日（十五个工作日凭记忆，待核对；法律只说及时）",
        "working days within which a rights request is answered (15 from memory, needs a person's check; the law says in time)",
    ),
    Setting(
        "rights.contact", dict,
        {"zh": "请向本机构个人信息保护负责人索取联系方式", "en": "ask this institution for the contact of its personal information officer"},
        "", "答复信与投诉说明里写的联系方式（中英文）", "contact block of letters, in Chinese and English",
    ),
)  # fmt: skip

__all__ = ["EVIDENCE_KINDS", "MIGRATIONS", "OWNER", "SETTINGS"]
