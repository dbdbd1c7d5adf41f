"""Content of an impact assessment: what is pre-filled, what people write, when it is complete. docs/assessment.md section 1. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from workbench.crypto import canonical, sm3

DIGEST_LABEL = b"workbench/v1/impact-assessment\n"
LEAST_CHARACTERS = 20
DAY_MS = 86_400_000
KEPT_DAYS = 1096
"""Three years after its end (PIPL 56), counted as days of three years with a leap day."""

STATES: Mapping[str, tuple[str, str]] = {
    "DRAFT": ("草稿", "draft"),
    "SUBMITTED": ("待批准", "waits for a second person"),
    "APPROVED": ("已批准", "approved"),
    "REVOKED": ("已撤销", "revoked"),
}
RISKS: Mapping[str, tuple[str, str]] = {"low": ("低", "low"), "medium": ("中", "medium"), "high": ("高", "high")}
CONCLUSIONS: Mapping[str, tuple[str, str]] = {
    "proceed": ("可以开展", "may proceed"),
    "conditions": ("满足所列条件后开展", "may proceed under the conditions stated"),
    "stop": ("不得开展", "must not proceed"),
}
POINTS: Mapping[str, tuple[str, str, str]] = {
    "necessity": ("目的、方式合法、正当、必要", "purpose and method lawful, legitimate and necessary", "PIPL 56 (1)"),
    "impact": ("对个人权益的影响及安全风险", "effect on the rights of persons, and risks", "PIPL 56 (2)"),
    "measures": ("保护措施合法、有效并与风险相适应", "measures lawful, effective and fitting the risk", "PIPL 56 (3)"),
}
GROUNDS: Mapping[str, tuple[str, str]] = {
    "provision": ("向其他个人信息处理者提供（第五十五条第三项、第二十三条）", "provision to another handler (55 no. 3, 23)"),
    "sensitive": ("处理敏感个人信息（第五十五条第一项；手机号、证件号与标签按敏感信息对待，待律师确认）", "sensitive data (55 no. 1; that phone, identity number and tags are treated so is our interpretation)"),
    "automated": ("自动化决策：按规则选出客户（第五十五条第二项、第二十四条）", "automated decision: a rule selects customers (55 no. 2, 24)"),
}
CLASSES = ("C1", "C2", "C3")


@dataclass(frozen=True, slots=True)
class ListFacts:
    """What the catalogue says of one list (row A4)."""

    list_id: str
    name: str
    source: str
    owner: str
    subjects: str
    method: str
    data_class: str
    lawful_basis: str
    rows: int
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the node knows by itself. parties, directions, measures, grounds: pairs of sentences zh, en."""

    purpose: str
    purpose_zh: str
    purpose_en: str
    recipient: str
    job: str
    key_kind: str
    rule: str
    columns: tuple[str, ...]
    data_class: str
    parties: tuple[tuple[str, str, str], ...]
    directions: tuple[tuple[str, str], ...]
    grounds: tuple[str, ...]
    lists: tuple[ListFacts, ...]
    measures: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What people write. valid_days: how long it covers, from approval."""

    necessity: str = ""
    impact: str = ""
    measures: str = ""
    risk: str = ""
    residual: str = ""
    conclusion: str = ""
    conditions: str = ""
    valid_days: int = 365


@dataclass(frozen=True, slots=True)
class Content:
    """The whole of an assessment. before: the one it follows, "" for none."""

    facts: Facts
    judgement: Judgement = field(default_factory=Judgement)
    before: str = ""


def highest(classes: Sequence[str]) -> str:
    """The strictest class of some lists; "C3" when one is unknown, so that nothing is covered by chance."""
    if not classes or any(one not in CLASSES for one in classes):
        return "C3"
    return max(classes)


def covers(approved: str, needed: str) -> bool:
    """Whether an assessment up to one class covers data of another; an unknown class is covered by none."""
    return approved in CLASSES and needed in CLASSES and needed <= approved


def missing(judgement: Judgement) -> list[tuple[str, str, str]]:
    """(field, zh, en) of what is still to be written, with the article."""
    found = []
    for name, (zh, en, article) in POINTS.items():
        if len(getattr(judgement, name).strip()) < LEAST_CHARACTERS:
            found.append((name, f"{zh}（{article}）", f"{en} ({article})"))
    if judgement.risk not in RISKS:
        found.append(("risk", "风险等级（PIPL 56 (2)）", "risk level (PIPL 56 (2))"))
    if judgement.conclusion not in CONCLUSIONS:
        found.append(("conclusion", "结论", "conclusion"))
    if judgement.conclusion == "conditions" and len(judgement.conditions.strip()) < LEAST_CHARACTERS:
        found.append(("conditions", "开展的条件", "the conditions"))
    return found


def as_json(content: Content) -> dict[str, Any]:
    """Canonical form: every number as text, so that its digest has one spelling."""
    return _texts(asdict(content))  # type: ignore[no-any-return]  # a dict goes in and comes out


def digest(content: Content) -> str:
    """SM3 of label and canonical JSON, hexadecimal. Source: docs/assessment.md section 1."""
    return sm3.digest(DIGEST_LABEL + canonical.format(as_json(content))).hex()


def from_json(value: Mapping[str, Any]) -> Content:
    """The inverse of `as_json`."""
    facts, judgement = dict(value["facts"]), dict(value["judgement"])
    lists = tuple(
        ListFacts(**{**one, "rows": int(one["rows"]), "tags": tuple(one["tags"])}) for one in facts.pop("lists")
    )
    for name in ("parties", "directions", "measures"):
        facts[name] = tuple(tuple(one) for one in facts[name])
    for name in ("columns", "grounds"):
        facts[name] = tuple(facts[name])
    return Content(
        Facts(lists=lists, **facts),
        Judgement(**{**judgement, "valid_days": int(judgement["valid_days"])}),
        value["before"],
    )


def document(content: Content, *, head: Sequence[str]) -> bytes:
    """The report as text, Chinese and English side by side. head: lines about who, when and which number."""
    facts, judgement = content.facts, content.judgement
    lines = [
        "个人信息保护影响评估报告 · Personal information protection impact assessment",
        "草稿性质的文书，须由有法律训练的人员审核 · Draft for people with legal training", *head, "",
        "一、处理活动 · Processing",
        f"目的 purpose: {facts.purpose_zh} · {facts.purpose_en} ({facts.purpose})",
        *(f"机构 institution: {zh} · {en} ({party})" for party, zh, en in facts.parties),
        *(f"提供方向 provision: {zh} · {en}" for zh, en in facts.directions),
        f"比对的标识 identifier compared: {facts.key_kind}    附带的列 columns: {'、'.join(facts.columns) or '无 none'}",
        f"受众规则 audience: {facts.rule or '名单里的每一位 everybody on the list'}",
        "", "二、个人信息 · Personal information",
    ]  # fmt: skip
    for one in facts.lists:
        lines += [
            f"{one.name} ({one.list_id}): {one.rows:,} 行 rows, 类别 class {one.data_class}, 合法性基础 lawful basis {one.lawful_basis}",
            f"  来源 source: {one.source}; 责任部门 owner: {one.owner}; 主体 subjects: {one.subjects}; 收集方式 method: {one.method}",
            f"  标签 tags: {'、'.join(one.tags) or '无 none'}",
        ]
    lines += ["", "三、须评估的理由 · Why an assessment is needed (PIPL 55)", *(f"- {GROUNDS[one][0]} · {GROUNDS[one][1]}" for one in facts.grounds)]
    lines += ["", "四、已有措施 · Measures in force", *(f"- {zh} · {en}" for zh, en in facts.measures)]
    for number, (name, (zh, en, article)) in zip("五六七", POINTS.items(), strict=True):
        lines += ["", f"{number}、{zh} · {en} ({article})", getattr(judgement, name) or "（未填写 not written）"]
    risk, conclusion = RISKS.get(judgement.risk, ("未定", "open")), CONCLUSIONS.get(judgement.conclusion, ("未定", "open"))
    lines += [
        "", "八、结论 · Conclusion", f"风险等级 risk level: {risk[0]} · {risk[1]}", f"剩余风险 residual risk: {judgement.residual or '—'}",
        f"结论 conclusion: {conclusion[0]} · {conclusion[1]}", f"条件 conditions: {judgement.conditions or '—'}",
        f"有效天数 valid for: {judgement.valid_days} d", f"SM3 {digest(content)}", "",
    ]  # fmt: skip
    return "\n".join(lines).encode()


def _texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _texts(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_texts(one) for one in value]
    return str(value) if isinstance(value, int) else value
