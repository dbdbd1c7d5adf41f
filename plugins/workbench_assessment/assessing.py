"""Drafting, judging, approving and ending impact assessments, each with its evidence. Document: docs/assessment.md section 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from workbench.contracts import OperationContext, Transaction
from workbench.domain.party import PartyId
from workbench.errors import Denied, Refused
from workbench_assessment import tables
from workbench_assessment.model import (
    DAY_MS,
    STATES,
    Content,
    Facts,
    Judgement,
    ListFacts,
    digest,
    highest,
    missing,
)
from workbench_assessment.tables import CaseRow

T = TypeVar("T")


def facts_of(ctx: OperationContext, *, purpose: str, recipient: str, job: str, list_id: str) -> Facts:
    """What the node knows of this purpose towards this institution: from the job where one is named, else from the newest list.

    Raises Refused UNKNOWN_PURPOSE, UNKNOWN_PARTY, UNDECLARED_LIST; NotFound for an unknown job.
    """
    host = ctx.host
    rule, columns, key_kind = "", [], "phone"
    if job:
        found = host.jobs.get(job)
        purpose, recipient, key_kind = found.terms.purpose, str(found.partner), found.terms.key_kind.value
        rule, columns = str(found.request.get("audience", "")), list(found.request.get("columns", []))
        list_id = list_id or str(found.request.get("list_id", ""))
    known = host.purposes()
    if purpose not in known:
        raise Refused(
            f"没有这个用途。可选：{'、'.join(known)}", f"there is no such purpose. Known: {', '.join(known)}", code="UNKNOWN_PURPOSE"
        )
    if recipient == host.party or recipient not in host.parties():
        raise Refused("没有这个伙伴机构", "there is no such partner institution", code="UNKNOWN_PARTY")
    lists = [host.lists.info(list_id)] if list_id else host.lists.everything()[:1]
    mine, theirs = host.names(host.party), host.names(PartyId(recipient))
    zh, en = known[purpose]
    return Facts(
        purpose=purpose, purpose_zh=zh, purpose_en=en, recipient=recipient, job=job, key_kind=key_kind, rule=rule,
        columns=tuple(columns), data_class=highest([one.data_class for one in lists]),
        parties=((host.party, *mine), (recipient, *theirs)),
        directions=(
            (f"{mine[0]} → {theirs[0]}：共同客户的身份，只在双方名单与双方授权之内", f"{mine[1]} -> {theirs[1]}: who the common customers are, within both lists and both consents"),
            (f"{theirs[0]} → {mine[0]}：同样的共同客户", f"{theirs[1]} -> {mine[1]}: the same common customers"),
        ),
        grounds=("provision", "sensitive", *(["automated"] if rule or not job else [])),
        lists=tuple(
            ListFacts(
                list_id=one.list_id, name=one.name, source=one.source, owner=one.owner, subjects=one.subjects, method=one.method,
                data_class=one.data_class, lawful_basis=one.lawful_basis, rows=one.rows, tags=tuple(one.tags),
            )
            for one in lists
        ),
        measures=_measures(host),
    )  # fmt: skip


def _measures(host: Any) -> tuple[tuple[str, str], ...]:
    """What is in force here, read from the settings, so that a report cannot claim what is not configured."""
    crowd, attempts = host.setting("intersection.minimum_crowd"), host.setting("intersection.attempts_per_period")
    days = host.setting("intersection.period_days")
    return (
        (f"少于 {crowd} 位共同客户时不揭示任何人", f"nobody is revealed below {crowd} common customers"),
        (f"对同一伙伴与用途，{days} 天内至多 {attempts} 次尝试", f"at most {attempts} attempts per partner and purpose in {days} days"),
        ("逐人、逐方向核对授权：筛选、匹配、放行、导出时各一次", "consent per person and direction: at selection, matching, release and export"),
        ("名单与结果加密存放；伙伴之间双向认证；明文标识不离开本机构", "lists and results are encrypted; partners authenticate each other; plain identifiers stay here"),
        ("每一步留证，由另一家机构共签，事后不能改动", "every step is evidence, co-signed by another institution, and cannot be changed"),
        ("客户可随时撤回、限制、要求删除，即刻生效", "customers withdraw, restrict and have data erased at any time, effective at once"),
    )


def draft(ctx: OperationContext, facts: Facts, *, before: str) -> str:
    """Write a draft with what the node knows; before: the assessment it follows, whose words are taken over. Its id."""
    host, name = ctx.host, f"A-{ctx.host.random(6).hex()}"
    actor = ctx.caller.person.token

    def change(tx: Transaction) -> None:
        judgement = Judgement()
        if before:
            tables.case(tx, before)
            judgement = tables.content(tx, host, before).judgement
        tables.add(
            tx, "assessment_case",
            {
                "assessment": name, "purpose": facts.purpose, "recipient": facts.recipient, "data_class": facts.data_class,
                "state": "DRAFT", "created_ms": host.now_ms(), "created_by": actor, "before": before,
            },
        )  # fmt: skip
        tables.keep(tx, host, name, Content(facts, judgement, before))
        _drafted(tx, ctx, name, facts)

    host.store.write(change)
    return name


def save(ctx: OperationContext, name: str, **written: Any) -> None:
    """Keep what a person wrote; the facts stay as they were read."""

    def change(tx: Transaction, row: CaseRow) -> None:
        content = tables.content(tx, ctx.host, name)
        judged = replace(content.judgement, **written)
        tables.keep(tx, ctx.host, name, replace(content, judgement=judged))
        writers = " ".join(sorted({*row.writers.split(), ctx.caller.person.token}))
        tables.change(tx, name, writers=writers)
        _drafted(tx, ctx, name, content.facts)

    _step(ctx, name, "DRAFT", change)


def _drafted(tx: Transaction, ctx: OperationContext, name: str, facts: Facts) -> None:
    values = {"assessment": name, "purpose": facts.purpose, "recipient": facts.recipient}
    ctx.host.evidence.append(tx, "assessment.drafted", values, actor=ctx.caller.person.token)


def submit(ctx: OperationContext, name: str) -> None:
    """Hand it to a second person. Refused ASSESSMENT_INCOMPLETE names what is missing, with the article."""

    def change(tx: Transaction, row: CaseRow) -> None:
        content = tables.content(tx, ctx.host, name)
        lacking = missing(content.judgement)
        if lacking:
            raise Refused(
                f"影响评估还不完整：{'；'.join(one[1] for one in lacking)}", f"the impact assessment lacks: {'; '.join(one[2] for one in lacking)}",
                code="ASSESSMENT_INCOMPLETE", details={"fields": " ".join(one[0] for one in lacking)},
            )  # fmt: skip
        frozen = digest(content)
        tables.change(tx, name, state="SUBMITTED", submitted_by=ctx.caller.person.token, digest=frozen)
        values = {"assessment": name, "digest": frozen}
        ctx.host.evidence.append(tx, "assessment.submitted", values, actor=ctx.caller.person.token)

    _step(ctx, name, "DRAFT", change)


def approve(ctx: OperationContext, name: str) -> None:
    """The second person's yes: the content is frozen and counts until its day. Denied SELF_APPROVAL."""
    host, actor = ctx.host, ctx.caller.person.token

    def change(tx: Transaction, row: CaseRow) -> None:
        if actor in (row.created_by, row.submitted_by, *row.writers.split()):
            raise Denied(
                "起草人或提交人不能批准自己的影响评估：请另一个人批准",
                "nobody approves the impact assessment they wrote or submitted: another person does",
                code="SELF_APPROVAL",
            )
        content = tables.content(tx, host, name)
        if digest(content) != row.digest:
            raise Refused(
                "提交之后内容有变：退回后重新提交", "the content changed since it was submitted: send it back and submit again",
                code="ASSESSMENT_CHANGED",
            )  # fmt: skip
        now = host.now_ms()
        until = now + content.judgement.valid_days * DAY_MS
        conclusion = content.judgement.conclusion
        tables.change(
            tx, name, state="APPROVED", approved_by=actor, approved_ms=now, until_ms=until, conclusion=conclusion
        )
        values = {
            "assessment": name, "purpose": row.purpose, "recipient": row.recipient, "data_class": row.data_class,
            "conclusion": conclusion, "until": str(until), "digest": row.digest,
        }  # fmt: skip
        host.evidence.append(tx, "assessment.approved", values, actor=actor)

    _step(ctx, name, "SUBMITTED", change)


def give_back(ctx: OperationContext, name: str, *, reason: str) -> None:
    """The second person's no: a draft again, with the reason."""

    def change(tx: Transaction, row: CaseRow) -> None:
        tables.change(tx, name, state="DRAFT", digest="", submitted_by="")
        values = {"assessment": name, "reason": reason}
        ctx.host.evidence.append(tx, "assessment.returned", values, actor=ctx.caller.person.token)

    _step(ctx, name, "SUBMITTED", change)


def revoke(ctx: OperationContext, name: str, *, reason: str) -> None:
    """End an approved one at once; the report stays."""

    def change(tx: Transaction, row: CaseRow) -> None:
        tables.change(tx, name, state="REVOKED", ended_ms=ctx.host.now_ms())
        values = {"assessment": name, "reason": reason}
        ctx.host.evidence.append(tx, "assessment.revoked", values, actor=ctx.caller.person.token)

    _step(ctx, name, "APPROVED", change)


def _step(ctx: OperationContext, name: str, state: str, step: Callable[[Transaction, CaseRow], T]) -> T:
    """One step of an assessment in this state, in one transaction; Refused WRONG_STATE."""

    def change(tx: Transaction) -> T:
        row = tables.case(tx, name)
        if row.state != state:
            zh, en = STATES[row.state]
            raise Refused(
                f"这份影响评估现在是「{zh}」，不能做这一步", f"this impact assessment is {en}: this step is not possible now",
                code="WRONG_STATE", details={"state": row.state},
            )  # fmt: skip
        return step(tx, row)

    return ctx.host.store.write(change)
