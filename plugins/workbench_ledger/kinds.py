"""Kinds of entry the ledger itself writes. Document: docs/protocols/evidence.md section 7."""

from __future__ import annotations

from workbench.domain.evidence import EvidenceKind, Field, Visibility

_SHARED = Visibility.SHARED

STARTED = EvidenceKind(
    "ledger.started",
    (
        Field("size", _SHARED, "启动时本机日志的条数", "entries of the own log at start", "entries"),
        Field("sha256_root", _SHARED, "启动时的 SHA-256 树根", "SHA-256 root at start"),
        Field("sm3_root", _SHARED, "启动时的 SM3 树根", "SM3 root at start"),
    ),
    "账本启动，登记启动时的条数与两个树根。",
    "The ledger started; its size and both roots at that moment.",
)

WITNESS_REFUSED = EvidenceKind(
    "ledger.witness_refused",
    (
        Field("origin", _SHARED, "请求共签的机构", "institution that asked for a co-signature"),
        Field("code", _SHARED, "拒绝原因代码", "code of the reason"),
        Field("size", _SHARED, "请求共签的条数，未知为 0", "size asked to co-sign, 0 when unknown", "entries"),
    ),
    "拒绝为另一机构的日志共签，附原因代码；同一原因与条数只记一次。",
    "A co-signature for another institution's log was refused, with the reason; once for each reason and size.",
)

CONFLICT = EvidenceKind(
    "ledger.conflict",
    (
        Field("origin", _SHARED, "历史互相矛盾的日志", "log whose signed heads contradict each other"),
        Field("problem", _SHARED, "矛盾的种类", "kind of contradiction"),
        Field("size", _SHARED, "后来出示的检查点条数", "size of the head shown later", "entries"),
        Field("index", _SHARED, "首条不同的记录，未知为空", "first entry that differs, empty when unknown"),
        Field("field", _SHARED, "不同的字段，未知为空", "fields that differ, empty when unknown"),
        Field("held_sha256", _SHARED, "本机持有的已签检查点摘要", "SHA-256 of the signed head held here"),
        Field("offered_sha256", _SHARED, "后来出示的已签检查点摘要", "SHA-256 of the signed head shown later"),
    ),
    "发现两个互相矛盾的已签检查点，两份原文都已保留作为证据。",
    "Two signed heads that contradict each other were found; both are kept as proof.",
)

KINDS = (STARTED, WITNESS_REFUSED, CONFLICT)
