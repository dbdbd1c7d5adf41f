"""The stages of the trial: `internal`, then invited customers, then all: a step forward is decided by two people on the ground of a
report, a step back is one person's and at once. Requirement J16; docs/sandbox-policy.md section 6.

The report is canonical JSON in the vault (`inference/stage/<number>`); proposal and decision name it by its SM3, so whoever decides
names what was read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from workbench.contracts import Host, Transaction
from workbench.crypto import canonical, sm3
from workbench.errors import Denied, InvalidRequest, NotFound, Refused, VerificationError
from workbench_inference.policy.feedback import Opinion
from workbench_inference.policy.tables import Reader

INTERNAL: Final = "internal"
INVITED: Final = "invited"
OPEN: Final = "open"
STAGES: Final = (INTERNAL, INVITED, OPEN)
STAGE_NAMES: Final[dict[str, tuple[str, str]]] = {
    INTERNAL: ("仅内部员工", "internal staff only"), INVITED: ("受邀客户", "invited customers"), OPEN: ("全部客户", "all customers"),
}  # fmt: skip
OPEN_ASKS: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "filing", "备案二第 2.5 节：受邀客户不超过 10000 人。向全部客户开放超出该范围，须先取得备案变更或出箱的批复，文号写入本次申请",
        "filing 2 section 2.5: no more than 10,000 invited customers. All customers go beyond it: a changed filing or the approval to leave the pilot comes first, its number is written into the proposal",
    ),
    (
        "from memory", "《生成式人工智能服务管理暂行办法》第 4、9、11、14、15 条：保护用户的输入与使用记录、对内容负责、设投诉入口；向公众提供的还可能须做安全评估与算法备案（凭记忆，待核对）",
        "interim measures on generative AI services, articles 4, 9, 11, 14, 15: protect what users put in and their records, answer for the content, take complaints; a service to the public may need a security assessment and a filing of its algorithm (from memory, needs a person's check)",
    ),
    (
        "excerpt", "《人工智能生成合成内容标识办法》第 4 至 6、9 条：文字有显式标识，导出的文件有隐式标识（据摘录，待核对原文）",
        "measures on labelling generated content, articles 4 to 6 and 9: a visible label on text, an implicit one in exported files (from an excerpt, read the original clause)",
    ),
    (
        "excerpt", "《证券期货投资者适当性管理办法》第 18 至 22 条：不因试点放宽，产品风险等级不高于客户等级（据摘录，待核对原文）",
        "suitability measures, articles 18 to 22: not relaxed for the trial, no product above the client's class (from an excerpt, read the original clause)",
    ),
)  # fmt: skip
"""What filing and law ask before all customers may come in: (where it is known from, zh, en); tags of the mission's law table."""
_COLUMNS: Final = "number, before, after, state, report, filing, first, second, made_ms, decided_ms, reason"
_COUNTED: Final = "('decided', 'closed')"


@dataclass(frozen=True, slots=True)
class StageRow:
    """A step. state: proposed, decided, declined, outdated (the stage changed meanwhile), closed; report: SM3, "" for a step back."""

    number: int
    before: str
    after: str
    state: str
    report: str
    filing: str
    first: str
    second: str
    made_ms: int
    decided_ms: int
    reason: str


def stage(reader: Reader) -> str:
    """The stage in force; `internal` where nobody ever decided."""
    row = reader.execute(f"SELECT after FROM inference_stage WHERE state IN {_COUNTED} ORDER BY number DESC LIMIT 1").fetchone()
    return str(row[0]) if row else INTERNAL


def steps(reader: Reader, *, limit: int = 50) -> list[StageRow]:
    """Newest first."""
    return [StageRow(*row) for row in reader.execute(f"SELECT {_COLUMNS} FROM inference_stage ORDER BY number DESC LIMIT ?", (limit,)).fetchall()]


def step(reader: Reader, number: int) -> StageRow:
    """One of them; NotFound NO_STAGE_STEP."""
    row = reader.execute(f"SELECT {_COLUMNS} FROM inference_stage WHERE number = ?", (number,)).fetchone()
    if row is None:
        raise NotFound("没有这次阶段变更", "there is no such step of the trial", code="NO_STAGE_STEP")
    return StageRow(*row)


def require_next(before: str, after: str) -> None:
    """Raises Refused STAGE_ORDER for anything but the next stage."""
    if after not in STAGES or STAGES.index(after) != STAGES.index(before) + 1:
        zh, en = STAGE_NAMES[before]
        raise Refused(
            f"现在是「{zh}」，只能提出下一阶段；退回用 stage close", f"the trial is at: {en}. Only the next stage can be proposed; to go back, close it", code="STAGE_ORDER",
            details={"stage": before},
        )  # fmt: skip


def compose(
    opinions: Sequence[Opinion], *, from_ms: int, until_ms: int, p95_ms: int, refused: Mapping[str, int], refused_before: int, made_ms: int
) -> bytes:
    """The report as kept and hashed. refused: code -> questions that were taken in and refused; refused_before: those refused before.

    Raises Refused STAGE_NO_GROUND where nothing was asked, or nobody rated anything.
    """
    asked, rated = sum(one.asked for one in opinions), sum(one.up + one.down for one in opinions)
    if not asked or not rated:
        raise Refused(
            "这段时间没有提问，或没有人评价过回答，不能作为依据：先在本阶段试用并评价，或换一段时间",
            "in this period nothing was asked, or nobody rated an answer: that is no ground. Try it at this stage and rate, or choose another period", code="STAGE_NO_GROUND",
            details={"asked": str(asked), "rated": str(rated)},
        )  # fmt: skip
    lines = [
        {
            "scenario": one.scenario, "template": one.template, "model": one.model, "asked": one.asked, "answered": one.answered, "abstained": one.abstained,
            "refused": one.refused, "up": one.up, "down": one.down, "reasons": [list(each) for each in one.reasons],
        }
        for one in opinions
    ]  # fmt: skip
    return canonical.format(
        {
            "v": 1, "kind": "stage-report", "from_ms": from_ms, "until_ms": until_ms, "made_ms": made_ms, "asked": asked, "rated": rated, "p95_ms": p95_ms,
            "refused": dict(refused), "refused_before": refused_before, "lines": lines,
        }
    )  # fmt: skip


def report_of(reader: Reader, host: Host, row: StageRow) -> dict[str, Any]:
    """What a step rests on; empty for a step back. Raises VerificationError STAGE_REPORT_ALTERED."""
    if not row.report:
        return {}
    data = host.vault.get(reader, _place(row.number))
    if sm3.digest(data).hex() != row.report:
        raise VerificationError(
            f"第 {row.number} 次阶段变更的依据与提出时不同，不能据此决定：重新提出", f"the ground of step {row.number} is not what was proposed and decides nothing: propose it anew",
            code="STAGE_REPORT_ALTERED",
        )  # fmt: skip
    found: dict[str, Any] = json.loads(data)
    return found


def propose(host: Host, tx: Transaction, *, after: str, report: bytes, filing: str, actor: str, reason: str) -> StageRow:
    """Write a step down for another person to decide. Raises Refused STAGE_ORDER; InvalidRequest FILING_MISSING for `open` without one."""
    before = stage(tx)
    require_next(before, after)
    if after == OPEN and not filing.strip():
        raise InvalidRequest(
            "向全部客户开放超出备案的 10000 人：请写明备案变更或出箱批复的文号", "all customers go beyond the 10,000 of the filing: give the number of the changed filing or approval",
            code="FILING_MISSING",
        )  # fmt: skip
    digest = sm3.digest(report).hex()
    made = tx.execute(
        "INSERT INTO inference_stage (before, after, state, report, filing, first, made_ms, reason) VALUES (?, ?, 'proposed', ?, ?, ?, ?, ?)",
        (before, after, digest, filing.strip(), actor, host.now_ms(), reason),
    )
    row = step(tx, int(made.lastrowid or 0))
    host.vault.put(tx, _place(row.number), report)
    _record(host, tx, "inference.stage_proposed", row, second="", reason=reason, actor=actor)
    return row


def decide(host: Host, tx: Transaction, *, number: int, report: str, is_approved: bool, actor: str, reason: str) -> StageRow:
    """Another person puts a step into force, or anybody declines it. report: SM3 of what was read.

    Raises Denied SELF_APPROVAL; Refused WRONG_STATE, STAGE_CHANGED; VerificationError STAGE_REPORT_ALTERED.
    """
    row = step(tx, number)
    if row.state != "proposed":
        raise Refused("这次阶段变更已有结论，不能再决定", "this step is settled already", code="WRONG_STATE", details={"state": row.state})
    if is_approved:
        if actor == row.first:
            raise Denied("这是你自己提出的，须由另一个人决定", "you proposed this; another person must decide it", code="SELF_APPROVAL")
        if report != row.report or stage(tx) != row.before:
            raise Refused("你看到的依据或阶段已不是现在的：刷新后再看一遍", "ground or stage is not what you read: look again", code="STAGE_CHANGED")
        report_of(tx, host, row)
    tx.execute(
        "UPDATE inference_stage SET state = ?, second = ?, decided_ms = ? WHERE number = ?", ("decided" if is_approved else "declined", actor, host.now_ms(), number)
    )
    if is_approved:
        tx.execute("UPDATE inference_stage SET state = 'outdated', decided_ms = ? WHERE state = 'proposed'", (host.now_ms(),))
    _record(host, tx, "inference.stage_changed" if is_approved else "inference.stage_declined", row, second=actor, reason=reason, actor=actor)
    return step(tx, number)


def close(host: Host, tx: Transaction, *, after: str, actor: str, reason: str) -> StageRow:
    """Back to an earlier stage, at once; what was proposed meanwhile is outdated. Raises Refused STAGE_ORDER."""
    before = stage(tx)
    if after not in STAGES or STAGES.index(after) >= STAGES.index(before):
        zh, en = STAGE_NAMES[before]
        raise Refused(f"现在是「{zh}」，只能退回前面的阶段", f"the trial is at: {en}. It can only be taken back to an earlier stage", code="STAGE_ORDER", details={"stage": before})
    row = _shut(tx, before=before, after=after, actor=actor, reason=reason, now_ms=host.now_ms())
    _record(host, tx, "inference.stage_closed", row, second="", reason=reason, actor=actor)
    return row


def forget(tx: Transaction, *, now_ms: int) -> None:
    """A restored node that no longer knows the stage: internal, until people decide again."""
    _shut(tx, before=stage(tx), after=INTERNAL, actor="", reason="restored", now_ms=now_ms)


def _shut(tx: Transaction, *, before: str, after: str, actor: str, reason: str, now_ms: int) -> StageRow:
    tx.execute("UPDATE inference_stage SET state = 'outdated', decided_ms = ? WHERE state = 'proposed'", (now_ms,))
    made = tx.execute(
        "INSERT INTO inference_stage (before, after, state, first, made_ms, decided_ms, reason) VALUES (?, ?, 'closed', ?, ?, ?, ?)", (before, after, actor, now_ms, now_ms, reason)
    )
    return step(tx, int(made.lastrowid or 0))


def _record(host: Host, tx: Transaction, kind: str, row: StageRow, *, second: str, reason: str, actor: str) -> None:
    values = {"before": row.before, "after": row.after, "report": row.report, "filing": row.filing, "first": row.first, "second": second, "reason": reason}
    host.evidence.append(tx, kind, values, actor=actor)


def _place(number: int) -> str:
    return f"inference/stage/{number}"


__all__ = [
    "INTERNAL", "INVITED", "OPEN", "OPEN_ASKS", "STAGES", "STAGE_NAMES", "StageRow", "close", "compose", "decide", "forget", "propose", "report_of", "require_next", "stage", "step", "steps",
]  # fmt: skip
