"""Operations of the ledger: how everything stands, catching up, and changes of members.

Document: docs/protocols/ledger.md sections 4 to 7.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from workbench.contracts import OperationContext, Transaction
from workbench.domain.membership import MemberAction
from workbench.domain.party import Role
from workbench.errors import WorkbenchError
from workbench.node.evidence_checking import ConflictInfo, conflict_info
from workbench.node.trust import export_trust
from workbench.operations import NoInput, Operation, Reply, Request

ADMINS = frozenset({Role.ADMIN, Role.OPERATOR})
READERS = ADMINS | {Role.COMPLIANCE, Role.AUDITOR, Role.REGULATOR}


class LogStatus(Reply):
    """One log as this node holds it; own: its own. head: newest signed head; cosigned: the newest this node signed."""

    log: str
    own: bool
    former: bool
    size: int
    head: int
    signers: list[str]
    cosigned: int
    cosigned_ms: int


class MirrorStatus(Reply):
    """A mirror of the own log: entries it holds, largest head it co-signed and when, how many entries it is behind.

    problem_zh, problem_en: why the last round with it failed, "" when it did not.
    """

    party: str
    held: int
    cosigned: int
    cosigned_ms: int
    behind: int
    problem_zh: str = ""
    problem_en: str = ""


class LostInfo(Reply):
    """The own log has `size` entries, its own key signed `signed`."""

    size: int
    signed: int


class NeedInfo(Reply):
    """What people must do again after a restore."""

    name: str
    count: int
    zh: str
    en: str


class AnchorLine(Reply):
    """What the health page says of outside anchors."""

    name: str
    state: str
    zh: str
    en: str


class LedgerStatusReply(Reply):
    """open: the own log takes entries. sealed + pending = size of the own log, by the policy of each kind.

    conflicts: every contradiction kept, with both signed notes. needs: left over from a restore.
    """

    party: str
    project: str
    now_ms: int
    open: bool
    problem_zh: str = ""
    problem_en: str = ""
    lost: LostInfo | None = None
    sealed: int
    pending: int
    logs: list[LogStatus]
    mirrors: list[MirrorStatus]
    conflicts: list[ConflictInfo]
    needs: list[NeedInfo] = []
    anchors: list[AnchorLine] = []


class CaughtUp(Reply):
    """What came of one partner: entries fetched from its log; whether it has signed everything of the own log."""

    party: str
    pulled: int
    signed: bool
    code: str = ""
    zh: str = ""
    en: str = ""


class CatchUpReply(Reply):
    partners: list[CaughtUp]
    status: LedgerStatusReply


class MemberState(Reply):
    """One change of members as this node sees it. state: "proposed", "agreed", "approved" or "in force", here.

    approved: institutions that have; missing: those that have not. lapsed: it was approved here, but one of the two people
    may not decide any more: two people approve again. in_force: logs in which it holds already.
    """

    change: str
    action: str
    party: str
    state: str
    proposed_by: str
    approved: list[str]
    missing: list[str]
    in_force: list[str]
    lapsed: bool = False


class MembersReply(Reply):
    """members: of the own log now; former: institutions that left. trust: trust file for `workbench verify --trust`."""

    members: list[str]
    former: list[str]
    changes: list[MemberState]
    trust: str


class ProposeMember(Request):
    """action: join or leave. bundle: of the new member, as its node exported it; party: who leaves."""

    action: MemberAction
    bundle: str = Field(default="", max_length=20_000)
    party: str = Field(default="", max_length=31)


class ApproveMember(Request):
    """change: the id, as the person sees it."""

    change: str = Field(pattern="^m-[0-9a-f]{32}$")


class MemberReply(Reply):
    change: str
    state: str


def read_status(host: Any) -> LedgerStatusReply:
    """How the ledger of a node stands; works while it is closed."""
    exchange = host.ledger.exchange
    size = host.ledger.size(host.party)
    sealed, pending = host.ledger.pending()
    lost = exchange.lost()
    former = set(host.former_parties())
    problem = host.restoring.problem or host.ledger.why_closed()
    return LedgerStatusReply(
        party=host.party,
        project=host.project,
        now_ms=host.now_ms(),
        open=host.ledger.is_open(),
        problem_zh=problem.zh if problem else "",
        problem_en=problem.en if problem else "",
        lost=LostInfo(size=lost.size, signed=lost.signed) if lost else None,
        sealed=sealed,
        pending=pending,
        logs=[
            LogStatus(
                log=one.log, own=one.log == host.party, former=one.log in former, size=one.size, head=one.head,
                signers=list(one.signers), cosigned=one.cosigned, cosigned_ms=one.cosigned_ms,
            )
            for one in exchange.heads()
        ],
        mirrors=[_mirror(host, one, size) for one in exchange.lags() if one.mirror not in former],
        conflicts=[conflict_info(one) for one in host.ledger.conflicts()],
        needs=[NeedInfo(name=one.name, count=one.count, zh=one.zh, en=one.en) for one in host.replay([])],
        anchors=[
            AnchorLine(name=one.name, state=one.state, zh=one.zh, en=one.en)
            for one in host.health()
            if one.name.startswith("anchor")
        ],
    )  # fmt: skip


def _mirror(host: Any, lag: Any, size: int) -> MirrorStatus:
    problem = host.sealing.problems.get(lag.mirror)
    return MirrorStatus(
        party=lag.mirror, held=lag.held, cosigned=lag.cosigned, cosigned_ms=lag.cosigned_ms,
        behind=size - lag.cosigned, problem_zh=problem.zh if problem else "", problem_en=problem.en if problem else "",
    )  # fmt: skip


def _status(ctx: OperationContext, request: NoInput) -> LedgerStatusReply:
    return read_status(ctx.host)


def _catch_up(ctx: OperationContext, request: NoInput) -> CatchUpReply:
    """Confirm or restore the own log, then fetch what mirrors here lack and send what mirrors there lack."""
    host = ctx.host
    if not host.ledger.is_open() and not host.restoring.attempt(automatic=True) and host.restoring.problem:
        raise host.restoring.problem
    others = [party for party in host.parties() if party != host.party]
    found = []
    for number, party in enumerate(others):
        ctx.progress(number, len(others), f"与 {party} 互相补齐", f"catching up with {party}")
        found.append(_with(host, party))
    failed = [one.party for one in found if one.code]
    values = {"pulled": str(sum(one.pulled for one in found)), "failed": " ".join(failed)}

    def change(tx: Transaction) -> None:
        host.evidence.append(tx, "ledger.caught_up", values, actor=ctx.caller.person.token)

    host.store.write(change)
    return CatchUpReply(partners=found, status=read_status(host))


def _with(host: Any, party: str) -> CaughtUp:
    pulled = 0
    try:
        host.sealing.tell_conflicts(party)
        pulled = host.sealing.pull(party)
        signed = host.sealing.round(party)
    except WorkbenchError as error:
        return CaughtUp(party=party, pulled=pulled, signed=False, code=error.code, zh=error.zh, en=error.en)
    return CaughtUp(party=party, pulled=pulled, signed=signed)


def _members(ctx: OperationContext, request: NoInput) -> MembersReply:
    host = ctx.host
    changes = []
    for one in host.members.all():
        own = host.party
        state = (
            "in force" if own in one.changed else "approved" if own in one.approvals else "agreed" if one.agreed else "proposed"
        )
        changes.append(
            MemberState(
                change=one.change.id, action=one.change.action.value, party=one.change.party, state=state,
                proposed_by=one.proposal.log, approved=sorted(one.approvals), missing=list(one.missing()),
                in_force=sorted(one.changed), lapsed=one.lapsed,
            )
        )  # fmt: skip
    former = list(host.former_parties())
    bundles = [*host.partners.trust.bundles(), *(host.partners.known(one).bundle for one in former)]
    return MembersReply(
        members=list(host.members.members()),
        former=[str(one) for one in former],
        changes=changes,
        trust=export_trust(bundles, host.ledger.keys()).decode(),
    )


def _propose(ctx: OperationContext, request: ProposeMember) -> MemberReply:
    change = ctx.host.members.propose(
        action=request.action, party=request.party, bundle=request.bundle, by=ctx.caller.person
    )
    return MemberReply(change=change.id, state="proposed")


def _approve(ctx: OperationContext, request: ApproveMember) -> MemberReply:
    return MemberReply(change=request.change, state=ctx.host.members.approve(request.change, by=ctx.caller.person))


LEDGER_OPERATIONS = (
    Operation(
        name="ledger.status", zh="查看账本状态", en="read how the ledger stands", request=NoInput, reply=LedgerStatusReply,
        roles=READERS, run=_status, weak_token=True, reads_only=True,
    ),
    Operation(
        name="ledger.catch_up", zh="补齐账本", en="catch the ledger up", request=NoInput, reply=CatchUpReply, roles=ADMINS,
        run=_catch_up, long=True, evidence=("ledger.caught_up", "ledger.restored"),
    ),
    Operation(
        name="ledger.members", zh="查看成员与变更", en="read members and their changes", request=NoInput, reply=MembersReply,
        roles=READERS, run=_members, reads_only=True,
    ),
    Operation(
        name="ledger.member_propose", zh="提议机构加入或退出", en="propose that an institution joins or leaves",
        request=ProposeMember, reply=MemberReply, roles=ADMINS, run=_propose, fresh_password=True,
        evidence=("ledger.member_proposed",),
    ),
    Operation(
        name="ledger.member_approve", zh="批准成员变更", en="approve a change of members", request=ApproveMember,
        reply=MemberReply, roles=ADMINS, run=_approve, fresh_password=True,
        evidence=("ledger.member_agreed", "ledger.member_approved", "ledger.member_changed", "partners.changed"),
    ),
)  # fmt: skip

__all__ = ["LEDGER_OPERATIONS", "LedgerStatusReply", "read_status"]
