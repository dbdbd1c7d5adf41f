"""What happens to a rights request, step by step, each with its evidence in one transaction. Document: docs/rights.md section 2."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from workbench.clock import local_day
from workbench.contracts import OperationContext, Transaction
from workbench.crypto import sm3
from workbench.domain.erasure import Customer
from workbench.domain.identifiers import parse_id_no, parse_phone
from workbench.domain.subject import SubjectRecord, SubjectRequest
from workbench.errors import InvalidRequest, Refused
from workbench_rights import answering, cases, complaints, explaining, restoring
from workbench_rights.cases import RequestRow, Sealed
from workbench_rights.model import GIVES_OUT, KIND_WORDS, STATE_WORDS, RequestState, RightsKind, identity_first, step
from workbench_rights.workdays import due

DECISIONS = {"granted": RequestState.GRANTED, "partly": RequestState.PARTLY, "refused": RequestState.REFUSED}


def customer_of(ctx: OperationContext, phone: str, id_no: str) -> Customer:
    """Whose request it is; InvalidRequest without an identifier, Refused AMBIGUOUS_CUSTOMER for a phone of several."""
    if not phone.strip() and not id_no.strip():
        raise InvalidRequest("请填写手机号或身份证号", "give a phone number or an identity number")
    return ctx.host.identify_customer(
        parse_phone(phone) if phone.strip() else None,
        parse_id_no(id_no, today=ctx.host.today()) if id_no.strip() else None,
    )


def place(request: str) -> str:
    return f"rights/{request}"


def receive(
    ctx: OperationContext, kind: RightsKind, customer: Customer, *, channel: str, applicant: str, texts: dict[str, Any],
    category: str = "other",
) -> str:  # fmt: skip
    """Take a request down; its clock begins. A complaint is opened with it, with a clock of its own. Returns its id."""
    host = ctx.host
    now, request = host.now_ms(), cases.new_id(host, "R")
    term = due(local_day(now), int(host.setting("rights.reply_working_days")))
    actor = ctx.caller.person.token

    def change(tx: Transaction) -> None:
        cases.add(
            tx,
            {
                "request": request, "kind": kind.value, "state": RequestState.RECEIVED.value, "channel": channel,
                "applicant": applicant, "received_ms": now, "due_day": term.day.isoformat(), "due_ms": term.end_ms,
                "is_estimated": int(term.is_estimated), "created_by": actor,
            },
        )  # fmt: skip
        if kind is RightsKind.COMPLAINT:
            facts = str(texts.get("details", ""))
            opened = complaints.open_complaint(
                tx, ctx, customer, channel=channel, category=category, facts=facts, request=request
            )
            cases.change(tx, request, complaint=opened)
        cases.seal(tx, host, place(request), Sealed(customer, texts))
        values = {
            "request": request, "kind": kind.value, "channel": channel, "applicant": applicant, "due": term.day.isoformat(),
        }  # fmt: skip
        host.evidence.append(tx, "rights.received", values, actor=actor, subject=customer.names[0])

    host.store.write(change)
    return request


def identify(ctx: OperationContext, request: str, *, method: str, confirmed: bool, note: str) -> None:
    """Record how the identity was checked and what came of it; a failed check leaves the request as it was."""
    host, actor = ctx.host, ctx.caller.person.token

    def change(tx: Transaction) -> None:
        row = cases.request(tx, request)
        content = cases.sealed(tx, host, place(request))
        to = step(row.state, RequestState.IDENTIFIED)
        if confirmed:
            cases.change(
                tx, request, state=to.value, method=method, identified_by=actor, identified_ms=host.now_ms()
            )
        cases.add_texts(tx, host, place(request), identity_note=note)
        values = {
            "request": request, "method": method, "outcome": "confirmed" if confirmed else "failed", "note": note,
        }  # fmt: skip
        host.evidence.append(tx, "rights.identified", values, actor=actor, subject=content.customer.names[0])

    host.store.write(change)


def require_identified(row: RequestRow) -> None:
    """IDENTITY_FIRST before anything about the customer leaves the desk."""
    if not row.identified_ms:
        raise identity_first()


def decide(ctx: OperationContext, request: str, *, decision: str, reason: str) -> None:
    """Grant, partly grant or refuse; what a granted correction, deletion or restriction does happens here.

    A correction comes before its decision is written and may be repeated: when it fails, the request stays undecided. An
    erasure comes after, because nothing may be written about the customer once it is done; when it fails, the same decision
    given again goes on with it.
    """
    host, actor = ctx.host, ctx.caller.person.token
    with host.store.read() as reader:
        row = cases.request(reader, request)
        content = cases.sealed(reader, host, place(request))
    to = DECISIONS[decision]
    grants = to is not RequestState.REFUSED
    if row.kind is RightsKind.DELETION and row.was_granted and grants and not row.erasure:
        _erase(ctx, row, content, reason)
        return
    step(row.state, to)
    done: dict[str, Any] = {}
    if grants:
        require_identified(row)
        if row.kind is RightsKind.CORRECTION:
            done = _correct(ctx, row, content)

    def change(tx: Transaction) -> None:
        now = cases.request(tx, request)
        cases.change(
            tx, request, state=step(now.state, to).value, decision=decision, decided_by=actor, decided_ms=host.now_ms()
        )
        cases.add_texts(tx, host, place(request), reason=reason, done=done)
        if row.kind is RightsKind.RESTRICTION and grants:
            cases.restrict(tx, request, content.customer, now_ms=host.now_ms())
            sealed = restoring.recovery(host.vault, host.random(restoring.NONCE_SIZE), request, content.customer)
            told = {"request": request, "reason": reason, "recovery": sealed}
            host.evidence.append(tx, "rights.restricted", told, actor=actor, subject=content.customer.names[0])
        values = {"request": request, "decision": decision, "reason": reason}
        host.evidence.append(tx, "rights.decided", values, actor=actor, subject=content.customer.names[0])

    host.store.write(change)
    if row.kind is RightsKind.DELETION and grants:
        _erase(ctx, row, content, reason)


def _correct(ctx: OperationContext, row: RequestRow, content: Sealed) -> dict[str, Any]:
    """Rewrite the lists; which of them, and which columns, ends in the letter. A new phone or number is the customer's too."""
    changes: dict[str, str] = content.texts.get("changes", {})
    done = ctx.host.correct_customer(content.customer, changes, actor=ctx.caller.person.token, case=row.request)
    now = cases.Sealed(_with_new_keys(ctx, content.customer, changes), content.texts)
    ctx.host.store.write(lambda tx: cases.seal(tx, ctx.host, place(row.request), now))
    return {"lists": [one.list_id for one in done], "columns": sorted({name for one in done for name in one.columns})}


def _with_new_keys(ctx: OperationContext, customer: Customer, changes: dict[str, str]) -> Customer:
    phone, id_no = changes.get("phone", ""), changes.get("id_no", "")
    if not phone.strip() and not id_no.strip():
        return customer
    now = customer_of(ctx, phone, id_no or (customer.id_nos[0] if customer.id_nos else ""))
    return Customer(
        tuple(dict.fromkeys((*now.names, *customer.names))),
        tuple(dict.fromkeys((*now.phones, *customer.phones))),
        tuple(dict.fromkeys((*now.id_nos, *customer.id_nos))),
    )


def _erase(ctx: OperationContext, row: RequestRow, content: Sealed, reason: str) -> None:
    """The person has just confirmed this very decision with a password; the erasure is its consequence."""
    customer = content.customer
    wanted = {
        "phone": customer.phones[0] if customer.phones else "", "id_no": customer.id_nos[0] if customer.id_nos else "",
        "reason": reason,
    }  # fmt: skip
    asked: Any = ctx.host.gate.call("customers.erase", wanted, ctx.caller, context=ctx, is_confirmed=True)
    ctx.host.store.write(lambda tx: cases.change(tx, row.request, erasure=asked.request))


def extend(ctx: OperationContext, request: str, *, days: int, reason: str) -> None:
    """Move the day of the answer once. Refused EXTENDED_ONCE, WRONG_STATE."""
    host, actor = ctx.host, ctx.caller.person.token

    def change(tx: Transaction) -> None:
        row = cases.request(tx, request)
        if row.state in (RequestState.ANSWERED, RequestState.CLOSED):
            raise wrong_state(row)
        if row.is_extended:
            raise Refused("期限只能延长一次", "the time is extended once only", code="EXTENDED_ONCE")
        term = due(local_day(row.received_ms), int(host.setting("rights.reply_working_days")) + days)
        cases.change(
            tx, request, due_day=term.day.isoformat(), due_ms=term.end_ms, is_estimated=int(term.is_estimated), is_extended=1
        )
        cases.add_texts(tx, host, place(request), extension=reason)
        host.evidence.append(
            tx, "rights.extended", {"request": request, "due": term.day.isoformat(), "reason": reason}, actor=actor,
            subject=_subject(tx, ctx, request),
        )  # fmt: skip

    host.store.write(change)


def close(ctx: OperationContext, request: str, *, reason: str) -> None:
    """The customer took the request back before it was decided."""
    host, actor = ctx.host, ctx.caller.person.token

    def change(tx: Transaction) -> None:
        row = cases.request(tx, request)
        if RequestState.CLOSED not in _ends(row.state):
            raise wrong_state(row)
        cases.change(tx, request, state=RequestState.CLOSED.value)
        cases.add_texts(tx, host, place(request), reason=reason)
        values = {"request": request, "reason": reason}
        host.evidence.append(tx, "rights.closed", values, actor=actor, subject=_subject(tx, ctx, request))

    host.store.write(change)


def _ends(state: RequestState) -> frozenset[RequestState]:
    return frozenset({RequestState.CLOSED}) if state in (RequestState.RECEIVED, RequestState.IDENTIFIED) else frozenset()


def lift(ctx: OperationContext, request: str, *, reason: str) -> None:
    """End a restriction. Refused NO_RESTRICTION when none lasts."""
    host, actor = ctx.host, ctx.caller.person.token

    def change(tx: Transaction) -> None:
        cases.request(tx, request)
        if not cases.lift(tx, request, now_ms=host.now_ms()):
            raise Refused("这项请求没有仍在生效的限制", "no restriction of this request is in force", code="NO_RESTRICTION")
        host.evidence.append(
            tx, "rights.restriction_lifted", {"request": request, "reason": reason}, actor=actor,
            subject=_subject(tx, ctx, request),
        )  # fmt: skip

    host.store.write(change)


def answer(ctx: OperationContext, request: str) -> tuple[str, str, int, dict[str, int]]:
    """Make the file for the customer: (download, name, records, records by owner). Refused IDENTITY_FIRST, WRONG_STATE."""
    host = ctx.host
    with host.store.read() as reader:
        row = cases.request(reader, request)
        content = cases.sealed(reader, host, place(request)) if cases.is_sealed(reader, host, place(request)) else None
    step(row.state, RequestState.ANSWERED)
    granted = row.was_granted
    if granted and row.kind is RightsKind.DELETION and not row.erasure:
        raise wrong_state(row)
    records: list[SubjectRecord] = []
    files: dict[str, bytes] = {}
    if granted and row.kind in GIVES_OUT:
        require_identified(row)
        if content is None:
            with host.store.read() as reader:
                cases.sealed(reader, host, place(request))  # raises CASE_ERASED
            raise AssertionError("an erased case has no content")
        files, records = _given(ctx, row, content)
    files = {"letter.txt": _letter(ctx, row, content, len(records), granted=granted), **files}
    data = answering.packed(files)
    name = f"rights-{request}.zip"
    values = {"request": request, "records": str(len(records)), "file_sm3": sm3.digest(data).hex()}

    def change(tx: Transaction) -> str:
        now = cases.request(tx, request)
        cases.change(tx, request, state=step(now.state, RequestState.ANSWERED).value, answered_ms=host.now_ms())
        host.evidence.append(
            tx, "rights.answered", values, actor=ctx.caller.person.token, subject=_subject(tx, ctx, request)
        )
        return host.downloads.offer(tx, ctx.caller, name, data)

    return host.store.write(change), name, len(records), answering.counts(records)


def _given(ctx: OperationContext, row: RequestRow, content: Sealed) -> tuple[dict[str, bytes], list[SubjectRecord]]:
    about = {
        "institution": ctx.host.party, "request": row.request, "kind": row.kind.value,
        "made": answering.when(ctx.host.now_ms()), "workspace": ctx.host.kind,
    }  # fmt: skip
    if row.kind is RightsKind.EXPLANATION:
        found = explaining.explain(ctx, content.customer)
        told = {"about": about, "intersections": [asdict(one) for one in found]}
        return {"explanation.json": answering.listed(told)}, []
    everything = ctx.host.subject_records(SubjectRequest(content.customer, row.request))
    records = answering.portable(everything) if row.kind is RightsKind.PORTABILITY else everything
    about["records"] = str(len(records))
    about["not_included"] = str(len(everything) - len(records))
    return {"records.json": answering.as_json(records, about=about), "records.csv": answering.as_csv(records)}, records


def _letter(ctx: OperationContext, row: RequestRow, content: Sealed | None, records: int, *, granted: bool) -> bytes:
    host = ctx.host
    zh, en, ground = KIND_WORDS[row.kind]
    contact = host.setting("rights.contact")
    words = {"granted": ("同意", "granted"), "partly": ("部分同意", "partly granted")}
    decision = words.get(row.decision, ("不予办理", "refused"))
    lines = [_done(row, content, records)] if granted else []
    return answering.letter(
        party=host.names(host.party), request=row.request, kind=(zh, en), ground=ground, decision=decision,
        reason=content.text("reason") if content else "见限制存放 / in restricted storage",
        day=str(host.today()), contact=(str(contact.get("zh", "")), str(contact.get("en", ""))), lines=lines,
    )  # fmt: skip


def _done(row: RequestRow, content: Sealed | None, records: int) -> tuple[str, str]:
    done = content.texts.get("done", {}) if content else {}
    match row.kind:
        case RightsKind.CORRECTION:
            columns = "、".join(done.get("columns", [])) or "（已是正确的值）"
            return (
                f"已更正：{columns}。业务系统须同步更正，否则下一次导入会带回旧值。以往的目标名单保持当时的内容。",
                (f"Corrected: {columns}. The source system must be corrected too, or its next file brings the old value back. Past"
                " target lists stay as they were."),
            )
        case RightsKind.DELETION:
            return (
                f"擦除 {row.erasure} 已启动：不须保存的立即销毁，依法须保存的限制存放，到期销毁；此后不再使用您的信息。",
                (f"Erasure {row.erasure} has begun: what nothing demands is destroyed, the rest is set aside until its term ends;"
                " your data is not used any more."),
            )
        case RightsKind.RESTRICTION:
            return (
                "已停止使用您的信息，只保存和保护；恢复使用前会再次告知。",
                "Your data is not used any more, only stored and protected; you are told before that changes.",
            )
        case RightsKind.EXPLANATION:
            return ("说明见 explanation.json：涉及您的每一次求交的规则、授权与结果。", "explanation.json tells rule, consent and outcome of every intersection that concerned you.")
        case RightsKind.COMPLAINT:
            return (f"已登记为投诉 {row.complaint}。", f"Registered as complaint {row.complaint}.")
        case _:
            return (
                f"所附 records.json 与 records.csv 列出 {records} 条记录。",
                f"records.json and records.csv list {records} records.",
            )


def evidence_pack(ctx: OperationContext, request: str) -> Any:
    """The evidence export of the customer, own fields opened; the password just given was for exactly this.

    Its own entry records it. One written before would be in the package, not yet co-signed, and no package would be final.
    """
    host = ctx.host
    with host.store.read() as reader:
        require_identified(cases.request(reader, request))
        customer = cases.sealed(reader, host, place(request)).customer
    about = {"id_no": customer.id_nos[0]} if customer.id_nos else {"phone": customer.phones[0]}
    return host.gate.call("evidence.export_opened", about, ctx.caller, context=ctx, is_confirmed=True)


def look(ctx: OperationContext, request: str) -> tuple[RequestRow, Sealed | None]:
    """A request with its content, None once it is erased, after the look is on record."""
    host = ctx.host

    def change(tx: Transaction) -> tuple[RequestRow, Sealed | None]:
        row = cases.request(tx, request)
        is_there = cases.is_sealed(tx, host, place(request))
        content = cases.sealed(tx, host, place(request)) if is_there else None
        _record_view(tx, ctx, request, "request")
        return row, content

    return host.store.write(change)


def look_deeper(ctx: OperationContext, request: str, what: str) -> Sealed:
    """The content for something about the customer beyond the request, after the look is on record.

    Refused IDENTITY_FIRST, CASE_ERASED.
    """
    host = ctx.host

    def change(tx: Transaction) -> Sealed:
        require_identified(cases.request(tx, request))
        content = cases.sealed(tx, host, place(request))
        _record_view(tx, ctx, request, what)
        return content

    return host.store.write(change)


def _record_view(tx: Transaction, ctx: OperationContext, request: str, what: str) -> None:
    values = {"request": request, "what": what}
    ctx.host.evidence.append(
        tx, "rights.viewed", values, actor=ctx.caller.person.token, subject=_subject(tx, ctx, request)
    )


def wrong_state(row: RequestRow) -> Refused:
    zh, en = STATE_WORDS[row.state]
    return Refused(
        f"这项权利请求现在是「{zh}」，不能做这一步", f"this rights request is {en}: this step is not possible now", code="WRONG_STATE",
        details={"state": row.state.value},
    )  # fmt: skip


def _subject(tx: Transaction, ctx: OperationContext, request: str) -> str:
    """Name of the customer's key, "" once the customer was erased."""
    names = tx.execute("SELECT name FROM rights_subject WHERE ref = ? ORDER BY name", (place(request),)).fetchall()
    if not names:
        return ""
    return cases.sealed(tx, ctx.host, place(request)).customer.names[0]
