"""Table, kinds of evidence and settings of notices. Document: docs/protocols/notice.md."""

from __future__ import annotations

from workbench.contracts import Setting
from workbench.domain.evidence import EvidenceKind, Field, Visibility, shared

TABLES = """
        CREATE TABLE consent_notice (
            number      INTEGER PRIMARY KEY,
            key         TEXT NOT NULL,
            version     INTEGER NOT NULL,
            body        BLOB NOT NULL,
            digest      BLOB NOT NULL,
            state       TEXT NOT NULL,
            proposed_by TEXT NOT NULL,
            proposed_ms INTEGER NOT NULL,
            decided_by  TEXT NOT NULL DEFAULT '',
            decided_ms  INTEGER NOT NULL DEFAULT 0,
            retired_ms  INTEGER NOT NULL DEFAULT 0,
            confirmed   TEXT NOT NULL DEFAULT '[]',
            reason      TEXT NOT NULL DEFAULT ''
        );
        CREATE UNIQUE INDEX consent_notice_once ON consent_notice (key, version) WHERE state <> 'REJECTED';
"""


_VERSION = (
    shared("notice", "告知书", "notice"),
    shared("version", "版本", "version"),
    shared("digest", "内容摘要 SM3", "SM3 of the content"),
    Field("lines", Visibility.COMMITTED, "其中的单独选择数", "separate choices in it", "1"),
)
_CHANGES = Field("changes", Visibility.COMMITTED, "已确认的实质变更，none 为无", "material changes that were confirmed, none for none")
_REASON = Field("reason", Visibility.COMMITTED, "理由", "reason")

EVIDENCE_KINDS = (
    EvidenceKind("notices.proposed", (*_VERSION, _CHANGES), "提出一版告知书", "a version of a notice was proposed"),
    EvidenceKind("notices.published", (*_VERSION, _CHANGES), "第二人批准并发布一版告知书，内容冻结", "a second person published a version of a notice; its content is frozen"),
    EvidenceKind("notices.rejected", (*_VERSION, _REASON), "退回一版告知书", "a proposed version of a notice was sent back"),
    EvidenceKind("notices.retired", (*_VERSION, _REASON), "停用一版告知书，不再据此签署", "a version of a notice was retired: nobody signs under it any more"),
)

SETTINGS = (
    Setting(
        "consent.categories",
        dict,
        {
            "phone": ["手机号", "phone number", True],
            "id-no": ["身份证号", "identity number", True],
            "name": ["姓名", "name", False],
            "customer-relation": ["是否为本机构客户", "being a customer of this institution", False],
            "risk-level": ["风险承受能力等级", "risk level", False],
            "assets": ["金融资产档", "band of financial assets", True],
            "tags": ["客户标签", "customer tags", True],
        },
        "",
        "个人信息种类代码：中英文名称，是否敏感（敏感与否为本项目解读，待律师确认）",
        "codes of personal information: names in Chinese and English, whether sensitive (our reading, to be confirmed by a lawyer)",
    ),
    Setting(
        "consent.channels",
        dict,
        {
            "sms": ["短信", "text message"],
            "call": ["电话", "phone call"],
            "push": ["应用内推送", "push message in the app"],
            "mail": ["电子邮件", "e-mail"],
            "visit": ["网点与客户经理", "branch and adviser"],
        },
        "",
        "联系客户的渠道代码及其中英文名称",
        "codes of the channels by which customers are contacted, with names in Chinese and English",
    ),
)
