"""Tables, kinds of evidence and settings of complaints and task groups. Document: docs/rights.md sections 7, 8 and 10."""

from __future__ import annotations

from workbench.contracts import Migration, Setting
from workbench.domain.evidence import EvidenceKind, Field, Visibility, closed, personal

MIGRATION = Migration(
    "rights",
    2,
    """
    CREATE TABLE rights_complaint (
        complaint    TEXT PRIMARY KEY,
        state        TEXT NOT NULL,
        channel      TEXT NOT NULL,
        category     TEXT NOT NULL,
        is_major     INTEGER NOT NULL DEFAULT 0,
        received_ms  INTEGER NOT NULL,
        due_day      TEXT NOT NULL,
        due_ms       INTEGER NOT NULL,
        is_estimated INTEGER NOT NULL,
        told_ms      INTEGER NOT NULL DEFAULT 0,
        handler      TEXT NOT NULL DEFAULT '',
        stopped_ms   INTEGER NOT NULL DEFAULT 0,
        outcome      TEXT NOT NULL DEFAULT '',
        closed_ms    INTEGER NOT NULL DEFAULT 0,
        request      TEXT NOT NULL DEFAULT '',
        job          TEXT NOT NULL DEFAULT '',
        created_by   TEXT NOT NULL
    );
    CREATE INDEX rights_complaint_due ON rights_complaint (due_ms);
    CREATE TABLE rights_step (
        complaint TEXT NOT NULL,
        number    INTEGER NOT NULL,
        kind      TEXT NOT NULL,
        at_ms     INTEGER NOT NULL,
        actor     TEXT NOT NULL,
        PRIMARY KEY (complaint, number)
    ) WITHOUT ROWID;
    CREATE TABLE rights_task (
        task       TEXT PRIMARY KEY,
        place      TEXT NOT NULL,
        kind       TEXT NOT NULL,
        party      TEXT NOT NULL,
        owner      TEXT NOT NULL,
        due_day    TEXT NOT NULL,
        due_ms     INTEGER NOT NULL,
        state      TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        done_ms    INTEGER NOT NULL DEFAULT 0,
        grp        TEXT NOT NULL DEFAULT '',
        letter     TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX rights_task_place ON rights_task (place);
    CREATE TABLE rights_file (
        file   TEXT PRIMARY KEY,
        place  TEXT NOT NULL,
        size   INTEGER NOT NULL,
        digest TEXT NOT NULL,
        at_ms  INTEGER NOT NULL,
        actor  TEXT NOT NULL,
        entry  INTEGER NOT NULL
    );
    CREATE TABLE rights_group (
        grp        TEXT PRIMARY KEY,
        lead       TEXT NOT NULL,
        complaint  TEXT NOT NULL DEFAULT '',
        category   TEXT NOT NULL,
        job        TEXT NOT NULL DEFAULT '',
        state      TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        is_known   INTEGER NOT NULL DEFAULT 0
    );
    """,
)


_COMPLAINT = closed("complaint", "投诉编号", "number of the complaint")
_REASON = personal("reason", "理由", "reason")
_TASK = closed("task", "任务编号", "number of the task")
_GROUP = closed("group", "专项小组编号", "number of the task group")
_PARTY = closed("party", "机构", "institution")

EVIDENCE_KINDS: tuple[EvidenceKind, ...] = (
    EvidenceKind(
        "complaints.opened",
        (
            _COMPLAINT,
            personal("channel", "渠道", "channel"),
            personal("category", "类别", "category"),
            closed("due", "告知进展的期限", "day by which progress is told"),
        ),
        "登记一件投诉",
        "a complaint was registered",
    ),
    EvidenceKind(
        "complaints.handled",
        (_COMPLAINT, personal("category", "类别", "category"), closed("major", "是否重大", "whether it is major")),
        "接手一件投诉",
        "somebody took a complaint over",
    ),
    EvidenceKind(
        "complaints.stepped",
        (_COMPLAINT, closed("step", "第几步", "number of the step", "1"), personal("kind", "步骤", "kind of step"), personal("text", "内容", "what happened")),
        "投诉办理的一步",
        "a step of a complaint",
    ),
    EvidenceKind(
        "complaints.told",
        (_COMPLAINT, closed("in_time", "是否在期限内", "whether in time"), personal("text", "告知内容", "what was told")),
        "向客户告知投诉进展",
        "the customer was told how the complaint stands",
    ),
    EvidenceKind(
        "complaints.contact_stopped",
        (_COMPLAINT, personal("scope", "范围", "scope"), closed("event", "授权事件序号", "number of the consent event")),
        "按投诉停止联系客户，立即生效",
        "contact with the customer was stopped, effective at once",
    ),
    EvidenceKind(
        "complaints.file_added",
        (
            _COMPLAINT,
            closed("file", "附件编号", "number of the attachment"),
            Field("digest", Visibility.SHARED, "附件的加盐摘要 SM3", "salted SM3 of the attachment"),
            closed("size", "字节数", "bytes", "B"),
        ),
        "投诉附件入库",
        "an attachment of a complaint was stored",
    ),
    EvidenceKind(
        "complaints.file_read",
        (_COMPLAINT, closed("file", "附件编号", "number of the attachment"), _REASON),
        "查看投诉附件",
        "an attachment of a complaint was read",
    ),
    EvidenceKind(
        "complaints.task_set",
        (
            _COMPLAINT,
            _TASK,
            closed("kind", "任务或整改", "task or rectification"),
            _PARTY,
            closed("due", "期限", "day"),
            personal("text", "内容", "what is to be done"),
        ),
        "投诉派出一项任务",
        "a task of a complaint was set",
    ),
    EvidenceKind(
        "complaints.task_done",
        (_COMPLAINT, _TASK, _PARTY, closed("in_time", "是否在期限内", "whether in time"), personal("result", "结果", "result")),
        "投诉的一项任务办结",
        "a task of a complaint was done",
    ),
    EvidenceKind(
        "complaints.group_opened",
        (_COMPLAINT, _GROUP, closed("members", "受邀机构", "institutions invited")),
        "为重大投诉成立跨机构专项小组",
        "a task group across institutions was opened",
    ),
    EvidenceKind(
        "complaints.group_joined",
        (
            _GROUP,
            _PARTY,
            _TASK,
            personal("found", "本机构名单中是否有该客户", "whether our released list has the customer"),
        ),
        "应邀加入专项小组",
        "a task group of another institution was joined",
    ),
    EvidenceKind("complaints.group_closed", (_GROUP, _PARTY), "专项小组结束", "a task group ended"),
    EvidenceKind(
        "complaints.liability_assessed",
        (
            _COMPLAINT,
            personal("liable", "责任主体", "who is liable"),
            personal("basis", "依据", "on what facts"),
            personal("entries", "所依据的记录", "entries it rests on"),
            closed("package_sm3", "证据包 SM3", "SM3 of the evidence package"),
            closed("package_from", "导出该证据包的机构；not-exported-here 为本节点所知的记录里没有", "who exported that package; not-exported-here where no log known here has it"),
        ),
        "认定投诉的责任主体",
        "liability for a complaint was assessed",
    ),
    EvidenceKind(
        "complaints.compensation_recorded",
        (
            _COMPLAINT,
            personal("amount_fen", "金额", "amount", "分 fen"),
            personal("payer", "由谁承担", "who bears it"),
            personal("agreed", "约定日", "day of the agreement"),
            personal("text", "说明", "note"),
        ),
        "登记补偿约定（只登记，不付款）",
        "a compensation was recorded; nothing is paid here",
    ),
    EvidenceKind(
        "complaints.closed",
        (
            _COMPLAINT,
            personal("outcome", "结果", "outcome"),
            closed("told_in_time", "是否按期告知", "whether progress was told in time"),
            _REASON,
        ),
        "投诉办结",
        "a complaint was closed",
    ),
    EvidenceKind("complaints.reopened", (_COMPLAINT, _REASON), "投诉重新办理", "a complaint was opened again"),
    EvidenceKind("complaints.viewed", (_COMPLAINT,), "查看一件投诉", "somebody looked at a complaint"),
)

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "complaints.progress_working_days", int, 7, "d",
        "投诉进展的告知期限，工作日（申报书二 6.2）", "working days within which a customer is told how a complaint stands (filing 2, 6.2)",
    ),
)  # fmt: skip

__all__ = ["EVIDENCE_KINDS", "MIGRATION", "SETTINGS"]
