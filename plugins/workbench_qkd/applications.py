"""Applications (SAEs) of this site: looked at, registered, changed and withdrawn at its key-management entity.

Document: docs/quantum-channel.md section 14. The entity keeps the list and admits by it; this node keeps the evidence.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from pydantic import Field

from workbench.contracts import HealthReport, OperationContext
from workbench.domain.evidence import EvidenceKind, closed, shared
from workbench.domain.party import Role
from workbench.errors import WorkbenchError
from workbench.operations import NoInput, Operation, Reply, Request
from workbench_kme.service import views
from workbench_kme.service.applications import HIGHEST_PRIORITY, MOST_KEYS, MOST_PER_HOUR
from workbench_qkd.service import ChannelService, service_of

READERS: Final = frozenset({Role.OPERATOR, Role.COMPLIANCE, Role.AUDITOR, Role.REGULATOR})
OPERATORS: Final = frozenset({Role.OPERATOR})
NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
LINE: Final = r"^([a-z][a-z0-9-]{1,30})?$"
TENANT: Final = r"^([a-z0-9][a-z0-9-]{0,30})?$"
MOST_PEM: Final = 16_384

_FIELDS: Final = (
    shared("application", "应用", "application"), shared("fingerprint", "证书指纹", "fingerprint of the certificate"), shared("line", "线路", "line"),
    shared("tenant", "租户标记", "tag of the tenant"),
    shared("per_hour", "每小时密钥数", "keys an hour", "1"), shared("burst", "一次至多", "at once", "1"),
    shared("most_reserved", "至多预留未取", "kept reserved at most", "1"), shared("priority", "优先级", "priority", "1"), closed("reason", "理由", "reason"),
)  # fmt: skip
EVIDENCE_KINDS: Final = (
    EvidenceKind("qkd.application_registered", _FIELDS, "登记应用", "an application was registered"),
    EvidenceKind("qkd.application_changed", _FIELDS, "应用的证书、配额或线路变更", "certificate, quota or line of an application was changed"),
    EvidenceKind(
        "qkd.application_withdrawn",
        (_FIELDS[0], shared("revoked", "一并吊销的未取密钥", "keys that waited, revoked with it", "1"), _FIELDS[-1]),
        "撤销应用，不再供钥", "an application was withdrawn and gets no keys any more",
    ),
)  # fmt: skip


class ApplicationName(Request):
    application: str = Field(pattern=NAME)
    reason: str = Field(min_length=5, max_length=1000)


class ApplicationRequest(ApplicationName):
    """certificate: PEM, by the site's authority; "" keeps the one that is registered. tenant: its tag, of lines with another one it gets no key. line: the only line it gets keys of;
    "" for any, where kme.json has it. per_hour: keys that come back in an hour; burst: at once; most_reserved: given and not
    fetched by the far application, 0 for any number."""

    certificate: str = Field(default="", max_length=MOST_PEM)
    line: str = Field(default="", pattern=LINE)
    tenant: str = Field(default="", pattern=TENANT)
    per_hour: int = Field(ge=0, le=MOST_PER_HOUR)
    burst: int = Field(ge=1, le=MOST_KEYS)
    most_reserved: int = Field(default=0, ge=0, le=MOST_KEYS)
    priority: int = Field(default=0, ge=0, le=HIGHEST_PRIORITY)


class ApplicationInfo(Reply):
    """state: registered or withdrawn. left: keys it may take at once now; reserved: what its far applications have not fetched
    yet; known_there: whether the far end of its line serves it; own: this node takes its keys as this application."""

    application: str
    fingerprint: str
    line: str
    tenant: str
    per_hour: int
    burst: int
    most_reserved: int
    priority: int
    state: str
    since_ms: int
    left: int
    reserved: int
    known_there: bool
    own: bool


class ApplicationsReply(Reply):
    """problem: "" or damaged, older, missing: the list is in doubt and the entity admits nobody until it is made anew."""

    problem: str
    applications: list[ApplicationInfo]


class WithdrawnReply(Reply):
    """withdrawn: False when it was before. revoked: keys it had that its far applications had not all fetched."""

    application: str
    withdrawn: bool
    revoked: int


def _listed(ctx: OperationContext, request: NoInput) -> ApplicationsReply:
    told = service_of(ctx.host).client().applications()
    own = _own(ctx)
    return ApplicationsReply(problem=told.problem, applications=[_info(one, own) for one in told.applications])


def _add(ctx: OperationContext, request: ApplicationRequest) -> ApplicationInfo:
    made = service_of(ctx.host).client().register_application(_wanted(request), act=ctx.caller.person.token)
    return _written(ctx, "qkd.application_registered", made, request.reason)


def _set(ctx: OperationContext, request: ApplicationRequest) -> ApplicationInfo:
    made = service_of(ctx.host).client().set_application(_wanted(request), act=ctx.caller.person.token)
    return _written(ctx, "qkd.application_changed", made, request.reason)


def _withdraw(ctx: OperationContext, request: ApplicationName) -> WithdrawnReply:
    host = ctx.host
    told = service_of(host).client().withdraw_application(request.application, act=ctx.caller.person.token)
    values = {"application": request.application, "revoked": str(told.revoked), "reason": request.reason}
    host.store.write(lambda tx: host.evidence.append(tx, "qkd.application_withdrawn", values, actor=ctx.caller.person.token))
    return WithdrawnReply(application=request.application, withdrawn=told.withdrawn, revoked=told.revoked)


def _wanted(request: ApplicationRequest) -> dict[str, Any]:
    return request.model_dump(exclude={"reason"})


def _written(ctx: OperationContext, kind: str, made: views.Application, reason: str) -> ApplicationInfo:
    """The entity has done it, and tells it as an event too: what is lost here comes with the next question as `qkd.told`."""
    host = ctx.host
    values = {name: str(getattr(made, name)) for name in ("application", "fingerprint", "line", "tenant", "per_hour", "burst", "most_reserved", "priority")}
    host.store.write(lambda tx: host.evidence.append(tx, kind, {**values, "reason": reason}, actor=ctx.caller.person.token))
    return _info(made, _own(ctx))


def _info(one: views.Application, own: frozenset[str]) -> ApplicationInfo:
    told = {name: getattr(one, name) for name in ApplicationInfo.model_fields if name != "own"}
    return ApplicationInfo(**told, own=one.application in own)


def _own(ctx: OperationContext) -> frozenset[str]:
    """What this node is as an application, as far as its settings say."""
    return service_of(ctx.host).own_applications()


def reports(service: ChannelService) -> list[HealthReport]:
    """A line of the health page while the list of applications is in doubt, or an own application is not admitted."""
    if not service.is_configured:
        return []
    try:
        told = service.client().applications()
    except WorkbenchError:
        return []  # the line of the entity says it
    if told.problem:
        return [
            HealthReport(
                "qkd.applications", "failed",
                f"密钥管理实体的应用登记表不可信（{told.problem}），一律不供钥：密钥管理人员重新登记各应用（workbench qkd application add）",
                f"the entity's list of applications is in doubt ({told.problem}) and nobody gets keys: key staff register each application anew (workbench qkd application add)",
            )
        ]  # fmt: skip
    registered = {one.application for one in told.applications if one.state == "registered"}
    missing = sorted(service.own_applications() - registered)
    if not missing:
        return []
    return [
        HealthReport(
            "qkd.applications", "failed", f"本节点取钥所用的应用 {'、'.join(missing)} 未登记或已撤销，会话取不到密钥：密钥管理人员登记",
            f"{', '.join(missing)}, as which this node takes keys, is not registered or withdrawn, so sessions get none: key staff register it",
        )
    ]  # fmt: skip


_acts: Any = partial(Operation, roles=OPERATORS, fresh_password=True)

OPERATIONS: Final = (
    Operation(
        name="qkd.applications", zh="查看本站应用与配额", en="look at the applications of the site and their quotas", request=NoInput, reply=ApplicationsReply,
        roles=READERS, run=_listed, reads_only=True, weak_token=True,
    ),
    _acts(
        name="qkd.application_add", zh="登记应用", en="register an application", request=ApplicationRequest, reply=ApplicationInfo, run=_add,
        evidence=("qkd.application_registered",),
    ),
    _acts(
        name="qkd.application_set", zh="修改应用的证书、配额或线路", en="change certificate, quota or line of an application", request=ApplicationRequest,
        reply=ApplicationInfo, run=_set, evidence=("qkd.application_changed",),
    ),
    _acts(
        name="qkd.application_withdraw", zh="撤销应用", en="withdraw an application", request=ApplicationName, reply=WithdrawnReply, run=_withdraw,
        evidence=("qkd.application_withdrawn",),
    ),
)  # fmt: skip

__all__ = ["EVIDENCE_KINDS", "OPERATIONS", "ApplicationInfo", "ApplicationName", "ApplicationRequest", "ApplicationsReply", "WithdrawnReply", "reports"]
