"""Tables, kinds of evidence and settings of capture. Document: docs/protocols/capture.md."""

from __future__ import annotations

from workbench.contracts import Migration, Setting
from workbench.domain.evidence import EvidenceKind, Field, Visibility, closed, personal

OWNER = "consent_capture"

MIGRATIONS = (
    Migration(
        OWNER,
        1,
        """
        CREATE TABLE consent_capture_ask (
            ask        TEXT PRIMARY KEY,
            secret     BLOB NOT NULL UNIQUE,
            phone      BLOB NOT NULL,
            id_no      BLOB NOT NULL,
            offers     TEXT NOT NULL,
            notice     TEXT NOT NULL,
            way        TEXT NOT NULL,
            place      TEXT NOT NULL,
            identity   TEXT NOT NULL,
            method     TEXT NOT NULL,
            actor      TEXT NOT NULL,
            asked_ms   INTEGER NOT NULL,
            expires_ms INTEGER NOT NULL,
            opened_ms  INTEGER,
            closed_ms  INTEGER,
            state      TEXT NOT NULL,
            agreed     INTEGER NOT NULL DEFAULT 0
        );
        CREATE TABLE consent_capture_refusal (
            number    INTEGER PRIMARY KEY,
            ask       TEXT NOT NULL,
            phone     BLOB NOT NULL,
            id_no     BLOB NOT NULL,
            purpose   TEXT NOT NULL,
            recipient TEXT NOT NULL,
            at_ms     INTEGER NOT NULL
        );
        CREATE TABLE consent_capture_backdating (
            proposal    TEXT PRIMARY KEY,
            earliest_ms INTEGER NOT NULL,
            most        INTEGER NOT NULL,
            reason      TEXT NOT NULL,
            proposed_by TEXT NOT NULL,
            proposed_ms INTEGER NOT NULL,
            approved_by TEXT NOT NULL DEFAULT '',
            approved_ms INTEGER,
            used_ms     INTEGER
        );
        """,
    ),
)


_ASK = closed("ask", "询问编号", "number of the question")
_SUBJECT = personal("subject", "客户代号（仅本机构可算）", "token of the customer, computable here only")
_SCOPE = personal("scope", "用途与接收方", "purposes and recipients")
_PLACE = closed("place", "在何处", "where")
_METHOD = closed("method", "方式（一次性验证码由员工陈述，本产品不发短信）", "method; a one-time code is as staff state it, this product sends none")
_IDENTITY = personal("identity", "如何核实身份（员工陈述）", "how the person was recognised, as staff state it")
_EVENT = closed("event", "授权事件序号", "number of the consent event")
_RECOVERY = Field("recovery", Visibility.SHARED, "本机构恢复旧副本时所需，已加密", "what this institution needs after a restore, sealed")
_PROPOSAL = closed("proposal", "倒签提议编号", "number of the backdating proposal")

EVIDENCE_KINDS = (
    EvidenceKind("consent.asked", (_ASK, _SUBJECT, _SCOPE, _PLACE, closed("notice", "告知书版本", "version of the notice")), "向一位客户征求同意", "a customer was asked for consent"),
    EvidenceKind("consent.opened", (_ASK, _SUBJECT), "客户打开签署页", "the customer opened the signing page"),
    EvidenceKind(
        "consent.signed",
        (_ASK, _SUBJECT, _SCOPE, _PLACE, _METHOD, _EVENT, personal("form", "所签内容的 SM3", "SM3 of what was signed"), closed("grants", "新增授权", "new grants", "1"), _RECOVERY),
        "客户在签署页同意", "the customer agreed on the signing page",
    ),
    EvidenceKind("consent.refused", (_ASK, _SUBJECT, _SCOPE, _PLACE, _RECOVERY), "客户拒绝，冷却期开始", "the customer declined; the cool-down began"),
    EvidenceKind("consent.ask_closed", (_ASK, closed("state", "结束状态", "how it ended"), _RECOVERY), "征求未得答复即结束", "a question ended without an answer"),
    EvidenceKind(
        "consent.captured",
        (
            _SUBJECT, _SCOPE, _PLACE, _METHOD, _IDENTITY, _EVENT, _PROPOSAL,
            personal("initiative", "由谁提出：staff 员工，customer 客户", "whose initiative: staff or customer"),
            personal("form", "签署文件的 SM3", "SM3 of the signed form"),
            personal("signer", "谁签署：self 本人，guardian 监护人，agent 代理人，kin 近亲属", "who signed: self, guardian, agent or kin"),
            personal("representative", "代为签署的人、关系与授权依据，本人签署为空", "who signed for the customer, in what relation, on what authority; empty when the customer did"),
        ),
        "员工代录一位客户的签署文件", "staff captured a customer's signed form",
    ),
    EvidenceKind(
        "consent.forms_imported",
        (
            _EVENT, _PROPOSAL, _PLACE, closed("rows", "索引行数", "rows of the index", "1"), closed("accepted", "新增授权", "new grants", "1"),
            closed("rejected", "未采纳的行", "rows not taken", "1"), closed("orphans", "无索引行的文件", "forms without a row", "1"),
        ),
        "批量导入签署文件", "signed forms were imported in bulk",
    ),
    EvidenceKind(
        "consent.backdating_proposed",
        (_PROPOSAL, closed("earliest", "最早生效日", "earliest day"), closed("most", "至多几条", "grants at most", "1"), closed("reason", "理由", "reason")),
        "提议倒签", "backdating was proposed",
    ),
    EvidenceKind("consent.backdating_approved", (_PROPOSAL, closed("proposed_by", "提议人", "who proposed it")), "第二人批准倒签", "a second person approved backdating"),
)  # fmt: skip

SETTINGS = (
    Setting("consent.cool_down_days", int, 180, "d", "客户拒绝后多少天内不再征求同一用途与接收方", "days after a refusal in which the same purpose and recipient are not asked for again"),
    Setting("consent.link_hours", int, 72, "h", "签署链接的有效期", "how long a signing link can be used"),
)
