"""Whether a job may run at this stage of the project: the guard behind every step of an intersection. docs/assessment.md section 2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workbench.contracts import Host, Transaction
from workbench.errors import Refused
from workbench_assessment import tables
from workbench_assessment.model import covers
from workbench_assessment.tables import Reader

STAGES = ("trial", "formal")
STEPS_OF_QUESTIONS = frozenset({"prompt", "answer"})
"""Steps of no job: nobody's personal information goes to another institution in them (redaction comes before)."""
WHY: Mapping[str, tuple[str, str]] = {
    "NONE": ("没有已批准的影响评估", "there is no approved impact assessment"),
    "ENDED": ("影响评估已过有效期", "the impact assessment has ended"),
    "STOPPED": ("影响评估的结论是不得开展", "the impact assessment concludes that it must not proceed"),
    "CLASS": ("影响评估没有涵盖这份名单的数据类别", "the impact assessment does not cover the data class of this list"),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """assessment: the one that covers, "" when none does; why: a code of WHY, "" when covered."""

    assessment: str
    why: str


def stage_of(host: Host) -> str:
    """trial or formal; Refused UNKNOWN_STAGE for anything else: a typing mistake must not open a gate."""
    stage = str(host.setting("assessment.stage"))
    if stage not in STAGES:
        raise Refused(
            "设置 assessment.stage 应为 trial 或 formal，因此拒绝：运维改正设置文件", "setting assessment.stage must be trial or formal, so this is refused: operators correct the settings file",
            code="UNKNOWN_STAGE",
        )  # fmt: skip
    return stage


def guard(host: Host, stage: str, facts: Mapping[str, str]) -> None:
    """Refuse a step without an assessment in the formal stage, write it down in the trial stage. stage: step of the job."""
    if stage in STEPS_OF_QUESTIONS:
        return
    purpose, partner, job = facts.get("purpose", ""), facts.get("partner", ""), facts.get("job", "")
    in_force = stage_of(host)
    with host.store.read() as reader:
        verdict = judge(
            reader, purpose=purpose, recipient=partner, job=job, list_id=facts.get("list", ""), now_ms=host.now_ms()
        )
    if not verdict.why:
        return
    if in_force == "formal":
        zh, en = WHY[verdict.why]
        raise Refused(
            f"正式阶段：{zh}（用途 {purpose}，对方 {partner}）。合规岗起草影响评估，第二人批准后再来",
            f"Formal stage: {en} (purpose {purpose}, partner {partner}). Compliance drafts one and a second person approves it first",
            code="NO_ASSESSMENT",
            details={"why": verdict.why, "step": stage},
        )
    host.store.write(lambda tx: _point_out(tx, host, stage, purpose, partner, job, verdict.why))


def judge(
    reader: Reader, *, purpose: str, recipient: str, job: str, now_ms: int, list_id: str = ""
) -> Verdict:
    """Which assessment covers this, or why none does. Without a list, named or of the job, its class is not asked."""
    found = tables.of_scope(reader, purpose, recipient)
    if not found:
        return Verdict("", "NONE")
    live = [one for one in found if now_ms < one.until_ms]
    if not live:
        return Verdict("", "ENDED")
    open_ = [one for one in live if one.covers_at(now_ms)]
    if not open_:
        return Verdict("", "STOPPED")
    needed = class_of_list(reader, list_id) if list_id else class_of(reader, job) if job else ""
    fitting = [one for one in open_ if not needed or covers(one.data_class, needed)]
    return Verdict(fitting[0].assessment, "") if fitting else Verdict("", "CLASS")


def class_of(reader: Reader, job: str) -> str:
    """Data class of the list a job uses here, "" while none is chosen, "?" when the catalogue has none."""
    row = reader.execute("SELECT json_extract(request, '$.list_id') FROM host_job WHERE job = ?", (job,)).fetchone()
    if row is None or not row[0]:
        return ""
    return class_of_list(reader, str(row[0]))


def class_of_list(reader: Reader, list_id: str) -> str:
    """Data class by the catalogue, "?" for a list it does not have."""
    known = reader.execute("SELECT data_class FROM host_list WHERE list = ?", (list_id,)).fetchone()
    return str(known[0]) if known else "?"


def _point_out(tx: Transaction, host: Host, step: str, purpose: str, partner: str, job: str, why: str) -> None:
    """Once per job and step; a proposal has no job yet and is written down each time."""
    known = tx.execute("SELECT 1 FROM assessment_missing WHERE job = ? AND step = ? AND job <> ''", (job, step)).fetchone()
    if known:
        return
    tables.add(
        tx, "assessment_missing",
        {"job": job, "step": step, "purpose": purpose, "recipient": partner, "why": why, "at_ms": host.now_ms()},
    )  # fmt: skip
    values = {"purpose": purpose, "recipient": partner, "step": step, "why": why}
    host.evidence.append(tx, "assessment.missing", values, job=job)
