"""Lines of the health page about assessments and breaches. Document: docs/assessment.md section 2."""

from __future__ import annotations

from workbench.contracts import HealthReport, Host
from workbench_assessment import tables
from workbench_assessment.gate import STAGES
from workbench_assessment.model import DAY_MS

SOON_DAYS = 30


def health(host: Host) -> list[HealthReport]:
    """The stage and what went on without an assessment; assessments that end soon; open breaches."""
    now, stage = host.now_ms(), str(host.setting("assessment.stage"))
    with host.store.read() as reader:
        pointed = int(reader.execute("SELECT count(DISTINCT purpose || recipient) FROM assessment_missing").fetchone()[0])
        ending = [one for one in tables.cases(reader) if one.covers_at(now) and one.until_ms < now + SOON_DAYS * DAY_MS]
        breaches = [one for one in tables.breaches(reader) if one.state == "OPEN" and one.kind == "incident"]
    return [_stage(stage, pointed, len(ending)), _breaches(len(breaches))]


def _stage(stage: str, pointed: int, ending: int) -> HealthReport:
    if stage not in STAGES:
        zh = "设置 assessment.stage 应为 trial 或 formal，求交全部被拒绝"
        en = "setting assessment.stage must be trial or formal: every intersection is refused"
        return HealthReport("assessment", "failed", zh, en, "operator")
    if stage == "trial" and pointed:
        zh = f"试点阶段：{pointed} 组用途与伙伴没有已批准的影响评估，任务继续并留痕"
        en = f"trial stage: {pointed} pairs of purpose and partner have no approved impact assessment; jobs go on and are written down"
        return HealthReport("assessment", "warning", zh, en, "compliance")
    if ending:
        zh, en = f"{ending} 份影响评估将在 {SOON_DAYS} 天内到期", f"{ending} impact assessments end within {SOON_DAYS} days"
        return HealthReport("assessment", "warning", zh, en, "compliance")
    words = ("试点阶段", "trial stage") if stage == "trial" else ("正式阶段", "formal stage")
    return HealthReport("assessment", "ok", f"{words[0]}，影响评估齐备", f"{words[1]}; impact assessments are in order", "compliance")


def _breaches(count: int) -> HealthReport:
    if count:
        return HealthReport("breach", "warning", f"{count} 起泄露事件没有结束", f"{count} breaches are open", "compliance")
    return HealthReport("breach", "ok", "没有未结束的泄露事件", "no breach is open", "compliance")
