"""Why a customer was or was not in a target list: rule, consent decision, run, entries. Document: docs/rights.md section 6."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from workbench.contracts import (
    ConsentRegistry,
    CustomerDecision,
    ExplainsCustomers,
    FindsCustomers,
    GrantQuery,
    OperationContext,
)
from workbench.domain.erasure import Customer
from workbench.domain.subject import SubjectRequest
from workbench.errors import NotFound, Refused, WorkbenchError
from workbench.intake import parse_audience

TOLD_KINDS = ("intersection.proposed", "intersection.approved", "consent.snapshot", "intersection.released", "intersection.exported")


@dataclass(frozen=True, slots=True)
class Explained:
    """One intersection as it concerned the customer. rule: canonical, "" for everybody; values: the customer's own in the
    columns it names, by name; fits: whether they satisfy it as the list is today. code: of the consent decision, with its
    sentence; grant: number of the record behind it, 0 for none. chosen: in the target list. entries: kind -> indices in the
    own log. zh, en: the whole of it in words.
    """

    job: str
    partner: str
    purpose: str
    state: str
    list_id: str
    started_ms: int
    rule: str
    rule_zh: str
    rule_en: str
    values: Mapping[str, str] = field(repr=False)
    fits: bool
    code: str
    code_zh: str
    code_en: str
    grant: int
    grant_from_ms: int
    grant_until_ms: int
    grant_digest: str
    chosen: bool
    entries: Mapping[str, Sequence[int]]
    zh: str
    en: str


def explain(ctx: OperationContext, customer: Customer) -> list[Explained]:
    """Every attempted intersection over a list that holds the customer, the newest first.

    Cost: one decision over the whole list for each of them, because others may share a key.
    """
    host = ctx.host
    registry: object = host.provider(ConsentRegistry)  # type: ignore[type-abstract]  # asked for by its Protocol
    if not isinstance(registry, ExplainsCustomers) or not isinstance(registry, FindsCustomers):
        raise Refused(
            "授权登记不能解释单个决定：管理员更换插件", "the consent registry cannot explain one decision: an administrator installs another",
            code="NO_EXPLANATION",
        )  # fmt: skip
    chosen = {one.values["job"] for one in host.subject_records(SubjectRequest(customer)) if one.owner == "results"}
    with host.store.read() as reader:
        started = dict(
            tuple(row) for row in reader.execute("SELECT job, max(started_ms) FROM host_attempt GROUP BY job").fetchall()
        )
    jobs = [job for job in host.jobs.all(limit=100_000) if job.job in started]
    frames: dict[str, tuple[pl.DataFrame, list[int]] | None] = {}
    found = []
    for done, job in enumerate(jobs):
        ctx.progress(done, len(jobs), "查找涉及该客户的求交", "finding intersections that concern the customer")
        if ctx.cancelled():
            break
        list_id = str(job.request.get("list_id", ""))
        if list_id not in frames:
            frames[list_id] = _mine(host, registry, list_id, customer)
        known = frames[list_id]
        if known is None:
            continue
        frame, rows = known
        query = GrantQuery(job.terms.purpose, job.partner, int(started[job.job]), job.terms.key_kind)
        decision = registry.explain_customer(frame, rows[0], query, names=customer.names)
        found.append(_explained(host, job, frame, rows, decision, query, is_chosen=job.job in chosen))
    return found


def _mine(
    host: Any, registry: FindsCustomers, list_id: str, customer: Customer
) -> tuple[pl.DataFrame, list[int]] | None:
    """A list and the rows of this customer in it; None when it is gone or has none."""
    try:
        frame = host.lists.frame(list_id)
    except (NotFound, Refused):
        return None
    rows = pl.Series(registry.rows_named(frame, customer.names)).arg_true().to_list()
    return (frame, rows) if rows else None


def _explained(
    host: Any, job: Any, frame: pl.DataFrame, rows: list[int], decision: CustomerDecision, query: GrantQuery, *, is_chosen: bool
) -> Explained:
    text = str(job.request.get("audience", "")).strip()
    rule = parse_audience(text) if text else None
    values = {name: "" if (one := frame[name][rows[0]]) is None else str(one) for name in rule.columns} if rule else {}
    fits = _fits(rule, frame[rows]) if rule else True
    with host.store.read() as reader:
        entries = {
            kind: sorted(row.index for row in host.evidence.search(reader, job=job.job, kind=kind, limit=1000))
            for kind in TOLD_KINDS
        }
    purpose = host.purposes().get(job.terms.purpose, (job.terms.purpose, job.terms.purpose))
    partner = host.names(job.partner) if job.partner in host.parties() else (job.partner, job.partner)
    rule_words = (rule.explain("zh"), rule.explain("en")) if rule else ("名单里的每一位", "everybody on the list")
    own = "、".join(f"{name} = {value or '（无）'}" for name, value in values.items())
    own_en = ", ".join(f"{name} = {value or '(none)'}" for name, value in values.items())
    grant = f"（依据第 {decision.record} 号授权）" if decision.record else ""
    grant_en = f" (grant {decision.record})" if decision.record else ""
    ending = ("您在目标名单中" if is_chosen else "您不在目标名单中", "you are in the target list" if is_chosen else "you are not in it")
    return Explained(
        job=str(job.job),
        partner=str(job.partner),
        purpose=job.terms.purpose,
        state=str(job.state.value),
        list_id=str(job.request.get("list_id", "")),
        started_ms=query.at_ms,
        rule=rule.canonical if rule else "",
        rule_zh=rule_words[0],
        rule_en=rule_words[1],
        values=values,
        fits=fits,
        code=decision.code,
        code_zh=decision.zh,
        code_en=decision.en,
        grant=decision.record,
        grant_from_ms=decision.from_ms,
        grant_until_ms=decision.until_ms,
        grant_digest=decision.digest,
        chosen=is_chosen,
        entries={kind: found for kind, found in entries.items() if found},
        zh=(
            f"{job.job}：为「{purpose[0]}」与{partner[0]}求交。规则：{rule_words[0]}。"
            + (f"您的 {own}，" if own else "") + ("符合规则。" if fits else "不符合规则。")
            + f"授权判断：{decision.zh}{grant}。{ending[0]}。共同客户由两家机构各自的名单和授权算出，没有人工挑选，也没有评分。"
        ),
        en=(
            f"{job.job}: an intersection with {partner[1]} for {purpose[1]}. Rule: {rule_words[1]}. "
            + (f"Your {own_en}: " if own_en else "You ") + ("fits the rule. " if fits and own_en else "fit the rule. " if fits else "does not fit the rule. ")
            + f"Consent: {decision.en}{grant_en}; {ending[1]}. The common customers follow from the lists and grants of both"
            " institutions; nobody picked by hand and nothing is scored."
        ),
    )  # fmt: skip


def _fits(rule: Any, own: pl.DataFrame) -> bool:
    """Whether any of the customer's rows satisfies the rule; a column that is gone satisfies nothing."""
    try:
        return bool(rule.select(own).any())
    except WorkbenchError:
        return False
