"""Tables, kinds of evidence and settings of assessments and breach notices. Document: docs/assessment.md section 5."""

from __future__ import annotations

from workbench.contracts import Migration, Setting
from workbench.domain.evidence import EvidenceKind, closed

OWNER = "assessment"

MIGRATIONS = (
    Migration(
        OWNER,
        1,
        """
        CREATE TABLE assessment_case (
            assessment TEXT PRIMARY KEY,
            purpose    TEXT NOT NULL,
            recipient  TEXT NOT NULL,
            data_class TEXT NOT NULL,
            state      TEXT NOT NULL,
            conclusion TEXT NOT NULL DEFAULT '',
            created_ms INTEGER NOT NULL,
            created_by TEXT NOT NULL,
            submitted_by TEXT NOT NULL DEFAULT '',
            approved_by  TEXT NOT NULL DEFAULT '',
            approved_ms  INTEGER NOT NULL DEFAULT 0,
            until_ms     INTEGER NOT NULL DEFAULT 0,
            ended_ms     INTEGER NOT NULL DEFAULT 0,
            digest     TEXT NOT NULL DEFAULT '',
            before     TEXT NOT NULL DEFAULT ''
        );
        CREATE INDEX assessment_case_scope ON assessment_case (purpose, recipient, state);
        CREATE TABLE assessment_missing (
            job       TEXT NOT NULL,
            step      TEXT NOT NULL,
            purpose   TEXT NOT NULL,
            recipient TEXT NOT NULL,
            why       TEXT NOT NULL,
            at_ms     INTEGER NOT NULL
        );
        CREATE TABLE assessment_breach (
            breach     TEXT PRIMARY KEY,
            kind       TEXT NOT NULL,
            state      TEXT NOT NULL,
            opened_ms  INTEGER NOT NULL,
            opened_by  TEXT NOT NULL,
            persons    INTEGER NOT NULL DEFAULT -1,
            letters_ms INTEGER NOT NULL DEFAULT 0,
            closed_ms  INTEGER NOT NULL DEFAULT 0
        );
        """,
    ),
    # Everybody who wrote on it: none of them approves it.
    Migration(OWNER, 2, "ALTER TABLE assessment_case ADD COLUMN writers TEXT NOT NULL DEFAULT '';"),
)


_ASSESSMENT = closed("assessment", "影响评估编号", "number of the assessment")
_PURPOSE = closed("purpose", "用途", "purpose")
_RECIPIENT = closed("recipient", "接收方", "recipient")
_REASON = closed("reason", "理由", "reason")
_BREACH = closed("breach", "泄露事件编号", "number of the breach")
_KIND = closed("kind", "事件或演练", "incident or drill")

EVIDENCE_KINDS = (
    EvidenceKind("assessment.drafted", (_ASSESSMENT, _PURPOSE, _RECIPIENT), "起草影响评估", "an impact assessment was drafted or changed"),
    EvidenceKind("assessment.submitted", (_ASSESSMENT, closed("digest", "内容摘要 SM3", "SM3 of the content")), "提交影响评估", "an impact assessment was submitted"),
    EvidenceKind(
        "assessment.approved",
        (
            _ASSESSMENT, _PURPOSE, _RECIPIENT, closed("data_class", "最高数据类别", "highest data class"),
            closed("conclusion", "结论", "conclusion"), closed("until", "有效至", "until", "ms"),
            closed("digest", "内容摘要 SM3", "SM3 of the content"),
        ),
        "第二人批准影响评估", "a second person approved an impact assessment",
    ),
    EvidenceKind("assessment.returned", (_ASSESSMENT, _REASON), "退回影响评估", "an impact assessment was sent back"),
    EvidenceKind("assessment.revoked", (_ASSESSMENT, _REASON), "撤销影响评估", "an impact assessment was revoked"),
    EvidenceKind("assessment.exported", (_ASSESSMENT, closed("file_sm3", "文件 SM3", "SM3 of the file")), "导出影响评估", "an impact assessment was exported"),
    EvidenceKind(
        "assessment.missing",
        (_PURPOSE, _RECIPIENT, closed("step", "步骤", "step"), closed("why", "缺什么", "what is missing")),
        "试点阶段：任务没有已批准的影响评估", "trial stage: a job goes on without an approved impact assessment",
    ),
    EvidenceKind(
        "assessment.records_exported",
        (closed("records", "记录数", "records", "1"), closed("format", "格式", "format"), closed("file_sm3", "文件 SM3", "SM3 of the file")),
        "导出处理记录", "processing records were exported",
    ),
    EvidenceKind("breach.opened", (_BREACH, _KIND, closed("scope", "范围", "scope")), "登记泄露事件或演练", "a breach or a drill was registered"),
    EvidenceKind(
        "breach.searched",
        (_BREACH, _KIND, closed("persons", "受影响的人数", "persons affected", "1"), closed("unfound", "日志中有而未找到的人数", "persons in the log that were not found", "1")),
        "查找受影响的人", "affected persons were looked for",
    ),
    EvidenceKind("breach.table_made", (_BREACH, _KIND, closed("rows", "行数", "rows", "1"), closed("file_sm3", "文件 SM3", "SM3 of the file")), "导出受影响的人", "the table of affected persons was made"),
    EvidenceKind(
        "breach.letters_made",
        (_BREACH, _KIND, closed("tell_persons", "是否通知个人", "whether persons are told"), closed("file_sm3", "文件 SM3", "SM3 of the file"), _REASON),
        "生成泄露通知草稿", "drafts of breach notices were made",
    ),
    EvidenceKind("breach.closed", (_BREACH, _KIND, closed("report", "报告摘要 SM3", "SM3 of the report")), "泄露事件或演练结束", "a breach or a drill was closed"),
)  # fmt: skip

SETTINGS = (
    Setting(
        "assessment.stage", str, "trial", "",
        "项目阶段：trial 试点（没有影响评估只提示），formal 正式（没有则拒绝）",
        "stage of the project: trial (a job without an impact assessment is pointed out) or formal (it is refused)",
        production="formal",
    ),
    Setting(
        "assessment.contact", dict,
        {"zh": "请向本机构个人信息保护负责人索取联系方式", "en": "ask this institution for the contact of its personal information officer"},
        "", "泄露通知里写的联系方式（中英文）", "contact block of breach notices, in Chinese and English",
    ),
)  # fmt: skip
