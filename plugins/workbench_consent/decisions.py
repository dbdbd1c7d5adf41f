"""Operations on what two people decide: contracts with entrusted processors, and the exit. Document: docs/consent.md section 16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pydantic import Field

from workbench.contracts import Host, OperationContext, Transaction
from workbench.domain.party import Role
from workbench.errors import InvalidRequest, Refused
from workbench.operations import NoInput, Operation, Reply, Request
from workbench_consent import changes, exiting, processors, succession
from workbench_consent.deciding import host_of, registry_of
from workbench_consent.notices.messages import LAST_MS, Both
from workbench_consent.registry import Registry
from workbench_consent.tables import Reader

PROPOSERS: Final = frozenset({Role.COMPLIANCE})
DECIDERS: Final = frozenset({Role.COMPLIANCE, Role.APPROVER})
READERS: Final = frozenset({Role.APPROVER, Role.COMPLIANCE, Role.AUDITOR, Role.REGULATOR})


class Contract(Request):
    """What a contract with an entrusted processor agrees (PIPL 21). processor: its id; contract_no: where the original lies.

    sub_processing: whether it may entrust others, on sub_terms. ending: return or deletion at the end.
    """

    processor: str = Field(pattern=r"^[a-z][a-z0-9-]{1,30}$")
    name: Both
    contact: str = Field(max_length=500)
    purpose: Both
    method: Both
    categories: list[str] = Field(max_length=40)
    measures: Both
    duties: Both
    ending: Both
    from_ms: int = Field(ge=0, le=LAST_MS)
    until_ms: int = Field(ge=0, le=LAST_MS)
    sub_processing: bool = False
    sub_terms: Both = Both()
    contract_no: str = Field(default="", max_length=200)


class DecideChange(Request):
    """number: of the proposal; digest: that was shown, the confirmation covers it."""

    number: int = Field(ge=1)
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")


class EndChange(Request):
    number: int = Field(ge=1)
    reason: str = Field(min_length=5, max_length=500)


class ChangeReply(Reply):
    """One decision as a row; content: as it was proposed; due: it ends within 30 days, or ended and is still in force.

    kind: processor, succession or exit; with "-end", the decision to end the one whose number stands in the content.
    """

    number: int
    kind: str
    name: str
    state: str
    digest: str
    content: dict[str, Any]
    proposed_by: str
    proposed_ms: int
    decided_by: str
    decided_ms: int
    ended_ms: int
    due: bool


class ProcessorsReply(Reply):
    """rows: newest first."""

    rows: list[ChangeReply]


class Succession(Request):
    """party: the institution; name, contact: of who goes on; told: how customers are told (PIPL 22); from_ms: since when."""

    party: str = Field(pattern=r"^[a-z][a-z0-9-]{1,30}$")
    name: Both
    contact: str = Field(min_length=3, max_length=500)
    told: Both
    from_ms: int = Field(ge=0, le=LAST_MS)
    document: str = Field(default="", max_length=200)


class ProposeExit(Request):
    reason: str = Field(min_length=5, max_length=500)


class ExitReply(Reply):
    """exiting: no new consents and jobs are taken. live_grants: grants that still run; last_until_ms: when the last one ends, 0 for none."""

    exiting: bool
    zh: str
    en: str
    live_grants: int
    last_until_ms: int
    rows: list[ChangeReply]


def _propose_contract(ctx: OperationContext, request: Contract) -> ChangeReply:
    host, registry = host_of(ctx), registry_of(ctx)
    body = request.model_dump()
    unknown = [code for code in request.categories if code not in host.setting("consent.categories")]
    if unknown or request.processor == host.party:
        raise InvalidRequest("信息种类未登记，或受托处理方是本机构", "a category is not registered, or the processor is this institution")
    processors.check(body)
    _require_no_recipient(registry, request.processor, host.now_ms())
    actor = ctx.caller.person.token
    return _write(
        host, lambda tx: changes.propose(tx, host, kind=processors.KIND, name=request.processor, body=body, actor=actor)
    )


def _approve_contract(ctx: OperationContext, request: DecideChange) -> ChangeReply:
    """Looks again for grants that name the processor: some may have come since it was proposed."""
    host, registry, actor = host_of(ctx), registry_of(ctx), ctx.caller.person.token
    with host.store.read() as reader:
        asked = changes.numbered(reader, processors.KIND, request.number)
    _require_no_recipient(registry, asked.name, host.now_ms())
    return _write(
        host, lambda tx: changes.approve(tx, host, kind=processors.KIND, number=request.number, expected=request.digest, actor=actor)
    )


def _require_no_recipient(registry: Registry, party: str, now: int) -> None:
    """Refused PROCESSOR_IS_RECIPIENT while live grants name the party."""
    state = registry.state()
    named = [term.recipient == party for term in state.terms]
    live = sum(
        1
        for number, is_named in enumerate(named)
        if is_named and bool(((state.grants.term == number) & ~state.grants.withdrawn & (state.grants.until_ms > now)).any())
    )
    if live:
        raise Refused(
            "客户的有效授权把它写作接收方：先厘清它是受托处理方还是接收方",
            "live grants name it as a recipient: first make clear whether it is a processor or a recipient",
            code="PROCESSOR_IS_RECIPIENT",
            details={"party": party},
        )


def _propose_succession(ctx: OperationContext, request: Succession) -> ChangeReply:
    host, actor = host_of(ctx), ctx.caller.person.token
    if request.party not in host.parties():
        raise InvalidRequest("不是项目中的机构", "this is no institution of the project")
    if not all((request.name.zh, request.name.en, request.told.zh, request.told.en)):
        raise InvalidRequest(
            "写明承继者名称和告知客户的方式，中英文都要（PIPL 22）", "give the name of who goes on and how customers are told, in both languages (PIPL 22)"
        )
    body = request.model_dump()
    return _write(host, lambda tx: changes.propose(tx, host, kind=succession.KIND, name=request.party, body=body, actor=actor))


def _successions(ctx: OperationContext, request: NoInput) -> ProcessorsReply:
    with ctx.host.store.read() as reader:
        found = changes.all_changes(reader, succession.KIND)
    return ProcessorsReply(rows=[_view(one, ctx.host.now_ms()) for one in reversed(found)])


def _propose_exit(ctx: OperationContext, request: ProposeExit) -> ChangeReply:
    host, actor = host_of(ctx), ctx.caller.person.token
    exiting.require_open(host.store)
    body = {"reason": request.reason}
    return _write(host, lambda tx: changes.propose(tx, host, kind=exiting.KIND, name=exiting.NAME, body=body, actor=actor))


def _approving(kind: str) -> Callable[[OperationContext, DecideChange], ChangeReply]:
    def run(ctx: OperationContext, request: DecideChange) -> ChangeReply:
        host, actor = host_of(ctx), ctx.caller.person.token
        return _write(
            host, lambda tx: changes.approve(tx, host, kind=kind, number=request.number, expected=request.digest, actor=actor)
        )

    return run


def _rejecting(kind: str) -> Callable[[OperationContext, EndChange], ChangeReply]:
    def run(ctx: OperationContext, request: EndChange) -> ChangeReply:
        host, actor = host_of(ctx), ctx.caller.person.token
        return _write(host, lambda tx: changes.reject(tx, host, kind=kind, number=request.number, reason=request.reason, actor=actor))

    return run


def _ending(kind: str) -> Callable[[OperationContext, EndChange], ChangeReply]:
    def run(ctx: OperationContext, request: EndChange) -> ChangeReply:
        host, actor = host_of(ctx), ctx.caller.person.token
        return _write(host, lambda tx: changes.propose_end(tx, host, kind=kind, number=request.number, reason=request.reason, actor=actor))

    return run


def _ended(kind: str) -> Callable[[OperationContext, DecideChange], ChangeReply]:
    def run(ctx: OperationContext, request: DecideChange) -> ChangeReply:
        host, actor = host_of(ctx), ctx.caller.person.token
        return _write(
            host, lambda tx: changes.approve_end(tx, host, kind=kind, number=request.number, expected=request.digest, actor=actor)
        )

    return run


def _both(reader: Reader, kind: str) -> list[changes.Change]:
    """Decisions of a kind and those to end one, newest first."""
    found = [*changes.all_changes(reader, kind), *changes.all_changes(reader, kind + changes.END)]
    return sorted(found, key=lambda one: -one.number)


def _contracts(ctx: OperationContext, request: NoInput) -> ProcessorsReply:
    with ctx.host.store.read() as reader:
        found = _both(reader, processors.KIND)
    return ProcessorsReply(rows=[_view(one, ctx.host.now_ms()) for one in found])


def _exit_status(ctx: OperationContext, request: NoInput) -> ExitReply:
    registry, now = registry_of(ctx), ctx.host.now_ms()
    with ctx.host.store.read() as reader:
        found, is_exiting = _both(reader, exiting.KIND), exiting.is_exiting(reader)
    grants = registry.state().grants
    live = ~grants.withdrawn & (grants.until_ms > now)
    return ExitReply(
        exiting=is_exiting,
        zh="正在退出：不再接受新的授权和任务，已有的按期结束" if is_exiting else "正常开展业务",
        en="leaving: no new consents and jobs; what exists ends by its dates" if is_exiting else "open for business",
        live_grants=int(live.sum()),
        last_until_ms=int(grants.until_ms[live].max()) if live.any() else 0,
        rows=[_view(one, now) for one in found],
    )


def _write(host: Host, change: Callable[[Transaction], changes.Change]) -> ChangeReply:
    return _view(host.store.write(change), host.now_ms())


def _view(one: changes.Change, now_ms: int) -> ChangeReply:
    ends = int(one.body.get("until_ms", 0))
    return ChangeReply(
        number=one.number, kind=one.kind, name=one.name, state=one.state, digest=one.digest, content=dict(one.body), proposed_by=one.proposed_by,
        proposed_ms=one.proposed_ms, decided_by=one.decided_by, decided_ms=one.decided_ms, ended_ms=one.ended_ms,
        due=one.state == changes.IN_FORCE and 0 < ends <= now_ms + processors.DUE_MS,
    )  # fmt: skip


DECISION_OPERATIONS = (
    Operation(
        name="processors.propose", zh="提出受托处理合同", en="propose a contract with an entrusted processor", request=Contract,
        reply=ChangeReply, roles=PROPOSERS, run=_propose_contract, evidence=("consent.change_proposed",),
    ),
    Operation(
        name="processors.approve", zh="批准受托处理合同", en="approve a contract with an entrusted processor", request=DecideChange,
        reply=ChangeReply, roles=DECIDERS, run=_approve_contract, fresh_password=True, evidence=("consent.change_approved",),
    ),
    Operation(
        name="processors.reject", zh="退回受托处理合同", en="send a contract back", request=EndChange, reply=ChangeReply, roles=DECIDERS,
        run=_rejecting(processors.KIND), evidence=("consent.change_rejected",),
    ),
    Operation(
        name="processors.end_propose", zh="提出终止受托处理合同（已返还或删除）", en="propose to end a contract, everything returned or deleted",
        request=EndChange, reply=ChangeReply, roles=PROPOSERS, run=_ending(processors.KIND), evidence=("consent.change_proposed",),
    ),
    Operation(
        name="processors.end_approve", zh="批准终止受托处理合同", en="approve the end of a contract", request=DecideChange, reply=ChangeReply,
        roles=DECIDERS, run=_ended(processors.KIND), fresh_password=True, evidence=("consent.change_approved", "consent.change_ended"),
    ),
    Operation(
        name="processors.end_reject", zh="退回终止受托处理合同", en="send the end of a contract back", request=EndChange, reply=ChangeReply,
        roles=DECIDERS, run=_rejecting(processors.KIND + changes.END), evidence=("consent.change_rejected",),
    ),
    Operation(
        name="processors.list", zh="查看受托处理合同", en="read the contracts with entrusted processors", request=NoInput,
        reply=ProcessorsReply, roles=READERS, run=_contracts, reads_only=True, weak_token=True,
    ),
    Operation(
        name="parties.succession_propose", zh="提出登记机构承继", en="propose to register a succession", request=Succession, reply=ChangeReply,
        roles=PROPOSERS, run=_propose_succession, evidence=("consent.change_proposed",),
    ),
    Operation(
        name="parties.succession_approve", zh="批准登记机构承继", en="approve a succession", request=DecideChange, reply=ChangeReply,
        roles=DECIDERS, run=_approving(succession.KIND), fresh_password=True, evidence=("consent.change_approved",),
    ),
    Operation(
        name="parties.succession_reject", zh="退回机构承继", en="send a succession back", request=EndChange, reply=ChangeReply,
        roles=DECIDERS, run=_rejecting(succession.KIND), evidence=("consent.change_rejected",),
    ),
    Operation(
        name="parties.successions", zh="查看机构承继", en="read the successions", request=NoInput, reply=ProcessorsReply, roles=READERS,
        run=_successions, reads_only=True, weak_token=True,
    ),
    Operation(
        name="consent.exit_propose", zh="提出退出业务", en="propose to leave the business", request=ProposeExit, reply=ChangeReply,
        roles=PROPOSERS, run=_propose_exit, evidence=("consent.change_proposed",),
    ),
    Operation(
        name="consent.exit_approve", zh="批准退出业务", en="approve leaving the business", request=DecideChange, reply=ChangeReply,
        roles=DECIDERS, run=_approving(exiting.KIND), fresh_password=True, evidence=("consent.change_approved",),
    ),
    Operation(
        name="consent.exit_reject", zh="退回退出业务的提议", en="send the proposal to leave back", request=EndChange, reply=ChangeReply,
        roles=DECIDERS, run=_rejecting(exiting.KIND), evidence=("consent.change_rejected",),
    ),
    Operation(
        name="consent.exit_end_propose", zh="提出结束退出状态", en="propose to end the run-off", request=EndChange, reply=ChangeReply,
        roles=PROPOSERS, run=_ending(exiting.KIND), evidence=("consent.change_proposed",),
    ),
    Operation(
        name="consent.exit_end_approve", zh="批准结束退出状态", en="approve the end of the run-off", request=DecideChange, reply=ChangeReply,
        roles=DECIDERS, run=_ended(exiting.KIND), fresh_password=True, evidence=("consent.change_approved", "consent.change_ended"),
    ),
    Operation(
        name="consent.exit_end_reject", zh="退回结束退出状态的提议", en="send the proposal to end the run-off back", request=EndChange,
        reply=ChangeReply, roles=DECIDERS, run=_rejecting(exiting.KIND + changes.END), evidence=("consent.change_rejected",),
    ),
    Operation(
        name="consent.exit_status", zh="查看是否正在退出", en="read whether the institution is leaving", request=NoInput, reply=ExitReply,
        roles=READERS, run=_exit_status, reads_only=True, weak_token=True,
    ),
)  # fmt: skip
