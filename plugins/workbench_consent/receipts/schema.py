"""Tables, kinds of evidence and settings of consent receipts. Document: docs/protocols/consent-receipt.md sections 7 and 8."""

from __future__ import annotations

from workbench.contracts import Migration, Setting
from workbench.domain.consent_receipt import ENTRY_KIND
from workbench.domain.evidence import EvidenceKind, Field, Visibility

OWNER = "consent_receipt"

MIGRATIONS = (
    Migration(
        OWNER,
        1,
        """
        -- One issue: ids (16 bytes each) and record numbers (u64, little-endian) of its receipts, in order.
        CREATE TABLE consent_receipt_batch (
            batch    INTEGER PRIMARY KEY,
            at_ms    INTEGER NOT NULL,
            entry    INTEGER NOT NULL,
            event    INTEGER NOT NULL,
            receipts INTEGER NOT NULL,
            root     BLOB NOT NULL,
            ids      BLOB NOT NULL,
            records  BLOB NOT NULL
        );
        -- Which grants spoke for the customers of a snapshot: one bit a grant, deflated.
        CREATE TABLE consent_receipt_use (
            snapshot TEXT PRIMARY KEY,
            entry    INTEGER NOT NULL,
            leaf     BLOB NOT NULL,
            records  BLOB NOT NULL
        ) WITHOUT ROWID;
        """,
    ),
)

EVIDENCE_KINDS = (
    EvidenceKind(
        ENTRY_KIND,
        (
            Field("root", Visibility.SHARED, "授权凭据的 SM3 默克尔根", "SM3 Merkle root of the receipts"),
            Field("receipts", Visibility.COMMITTED, "凭据份数", "receipts", "1"),
            Field("selection", Visibility.COMMITTED, "按什么选取", "how they were selected"),
            Field("event", Visibility.COMMITTED, "依据的授权事件序号", "consent event they rest on"),
            Field("size", Visibility.COMMITTED, "读取状态时本机构日志的条数", "entries of the own log when their status was read"),
        ),
        "出具授权凭据",
        "consent receipts were issued",
    ),
)

SETTINGS = (
    Setting(
        "consent.receipt_contacts",
        dict,
        {},
        "",
        "机构 -> [地址, 联系方式, 个人信息保护负责人]，印在授权凭据上",
        "institution -> [address, contact, personal information protection officer], printed on receipts",
    ),
    Setting(
        "consent.receipt_information",
        dict,
        {
            "phone": ["手机号", "phone number", "yes"],
            "id_no": ["身份证号", "identity number", "yes"],
        },
        "",
        "个人信息种类 -> [中文, 英文, 是否敏感 yes/no]；手机号与身份证号按敏感信息对待是我们的理解，须法律人员确认",
        "category of personal information -> [Chinese, English, sensitive yes/no]; phone and identity number as sensitive is our reading",
    ),
    Setting(
        "consent.receipt_texts",
        dict,
        {},
        "",
        "凭据上的固定文字：withdrawal [中文, 英文, 网址]，retention、storage、method [中文, 英文]；未写明的用随附文字",
        "fixed texts on receipts: withdrawal [zh, en, URL], retention, storage, method [zh, en]; what is absent has a text of ours",
    ),
    Setting(
        "consent.receipt_wait_s", int, 20, "s", "出具凭据时等待共签的最长时间", "longest wait for co-signatures when receipts are issued"
    ),
)
