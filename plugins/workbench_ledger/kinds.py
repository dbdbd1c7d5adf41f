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

RESTORED = EvidenceKind(
    "ledger.restored",
    (
        Field("from", _SHARED, "旧副本的条数", "entries of the older copy", "entries"),
        Field("to", _SHARED, "取回后的条数", "entries after the restore", "entries"),
        Field("first_time", _SHARED, "取回记录的最早时间", "earliest time of the entries that came back"),
        Field("last_time", _SHARED, "取回记录的最晚时间", "latest time of the entries that came back"),
        Field("kinds", _SHARED, "取回记录的种类与条数", "kinds of the entries that came back, with counts"),
        Field("jobs", _SHARED, "涉及的任务", "jobs they are about"),
        Field("mirrors", _SHARED, "给出记录的镜像", "mirrors that gave them"),
        Field("values_lost", _SHARED, "未能取回的原值个数（镜像从未持有）", "values that no mirror ever had, lost", "1"),
    ),
    "本机从旧副本恢复，缺少的记录已从镜像取回并核对。",
    "This node was restored from an older copy; its missing entries are back from mirrors, checked against what it signed.",
)

CAUGHT_UP = EvidenceKind(
    "ledger.caught_up",
    (
        Field("pulled", _SHARED, "从各家日志取来的条数", "entries fetched from other logs", "entries"),
        Field("failed", _SHARED, "未能联系或被拒的机构", "institutions that did not answer or refused"),
    ),
    "运维要求补齐：本机镜像与各家对本机的共签。",
    "Operators asked for everything to be caught up: mirrors here and co-signatures of the own log.",
)

_CHANGE = Field("change", _SHARED, "变更编号，各机构一致", "id of the change, the same everywhere")
_ACTION = Field("action", _SHARED, "加入 join 或退出 leave", "join or leave")
_PARTY = Field("party", _SHARED, "所涉机构", "institution it is about")
_BUNDLE_SM3 = Field("bundle_sm3", _SHARED, "公开资料包 SM3，退出为空", "SM3 of the public bundle, empty to leave")

MEMBER_PROPOSED = EvidenceKind(
    "ledger.member_proposed",
    (
        _CHANGE,
        _ACTION,
        _PARTY,
        Field("bundle", _SHARED, "新成员的公开资料包，退出为空", "public bundle of the new member, empty to leave"),
        _BUNDLE_SM3,
        Field("members", _SHARED, "变更前的成员", "members before the change"),
    ),
    "提议一家机构加入或退出项目。",
    "Somebody proposed that an institution joins or leaves the project.",
)

MEMBER_AGREED = EvidenceKind(
    "ledger.member_agreed",
    (_CHANGE, _ACTION, _PARTY),
    "本机构一人同意成员变更，还须第二人批准。",
    "One person of this institution agreed to the change of members; a second one must approve.",
)

MEMBER_APPROVED = EvidenceKind(
    "ledger.member_approved",
    (
        _CHANGE,
        _ACTION,
        _PARTY,
        _BUNDLE_SM3,
        Field("people", _SHARED, "本机构批准的人数", "people of this institution who approved", "1"),
        Field("proposal", _SHARED, "提议所在的记录", "entry of the proposal"),
        Field("first", Visibility.COMMITTED, "第一位批准人", "first person who approved"),
        Field("second", Visibility.COMMITTED, "第二位批准人", "second person who approved"),
    ),
    "本机构两人批准成员变更。",
    "Two people of this institution approved the change of members.",
)

MEMBER_CHANGED = EvidenceKind(
    "ledger.member_changed",
    (
        _CHANGE,
        _ACTION,
        _PARTY,
        _BUNDLE_SM3,
        Field("approvals", _SHARED, "各机构的批准记录", "approval entries of all institutions"),
    ),
    "成员变更自本条起在本日志生效。",
    "From this entry on the change of members holds in this log.",
)

KINDS = (STARTED, WITNESS_REFUSED, CONFLICT, RESTORED, CAUGHT_UP, MEMBER_PROPOSED, MEMBER_AGREED, MEMBER_APPROVED, MEMBER_CHANGED)
