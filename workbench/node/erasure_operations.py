"""Operations on erasures: ask, confirm, see what waits for the end of its term, read what is set aside.

Document: docs/protocols/erasure.md sections 2 and 4. Every reading of restricted values is an entry before it is answered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import Field

from workbench.contracts import OperationContext
from workbench.domain.envelope import SALT_SIZE
from workbench.domain.party import Role
from workbench.errors import InvalidRequest
from workbench.node.erasure import Asked
from workbench.operations import NoInput, Operation, Reply, Request
from workbench.store.restricted import Restriction

if TYPE_CHECKING:
    from workbench.host import Workbench

COMPLIANCE = frozenset({Role.COMPLIANCE})
MAY_READ = frozenset({Role.COMPLIANCE, Role.AUDITOR})


class EraseRequest(Request):
    """phone, id_no: at least one. reason: why, kept in evidence under the customer's key.

    by: the customer, an agent, a guardian or next of kin (PIPL 49, law-text); proof: reference of the document that allows
    it, for the last three.
    """

    phone: str = ""
    id_no: str = ""
    by: str = Field(default="subject", pattern="^(subject|agent|guardian|kin)$")
    proof: str = Field(default="", max_length=200)
    reason: str = Field(min_length=5, max_length=500)


class ConfirmRequest(Request):
    request: str


class FindingInfo(Reply):
    """found = erased + restricted + left, of one owner."""

    owner: str
    what: str
    found: int
    erased: int
    restricted: int
    left: int
    until_ms: int
    zh: str
    en: str
    names: list[str]


class RestrictionInfo(Reply):
    """One thing set aside; place: reference of an entry with its fields, or a kind and count."""

    restriction: str
    owner: str
    kind: str
    place: str
    items: int
    until_ms: int
    basis_zh: str
    basis_en: str


class ErasureReply(Reply):
    """state: WAITING, RUNNING, RESTRICTED, ERASED or EXPIRED. until_ms: the last term, 0 for none."""

    request: str
    state: str
    created_ms: int
    until_ms: int
    findings: list[FindingInfo]
    restrictions: list[RestrictionInfo]
    log_emptied: bool = True


class ErasuresReply(Reply):
    erasures: list[ErasureReply]


class RestrictedRequest(Request):
    """restriction: one id; or phone, id_no: everything of one customer. reason: kept in evidence."""

    restriction: str = ""
    phone: str = ""
    id_no: str = ""
    reason: str = Field(min_length=5, max_length=500)


class RestrictedValue(Reply):
    """values: field -> value of an entry; record -> hex of a record that is no entry."""

    restriction: RestrictionInfo
    values: dict[str, str]


class RestrictedReply(Reply):
    found: list[RestrictedValue]


def _restriction(one: Restriction) -> RestrictionInfo:
    return RestrictionInfo(
        restriction=one.id, owner=one.owner, kind=one.kind, place=one.place, items=one.items, until_ms=one.until_ms,
        basis_zh=one.basis_zh, basis_en=one.basis_en,
    )  # fmt: skip


def _reply(host: Workbench, asked: Asked, *, log_emptied: bool = True) -> ErasureReply:
    with host.store.read() as reader:
        lying = host.restricted.restrictions(reader, request=asked.request)
    return ErasureReply(
        request=asked.request,
        state=asked.state,
        created_ms=asked.created_ms,
        until_ms=asked.until_ms,
        findings=[FindingInfo(**one) for one in asked.report],
        restrictions=[_restriction(one) for one in lying],
        log_emptied=log_emptied,
    )


def _step(ctx: OperationContext) -> Callable[[int, int], bool]:
    """Progress of the search through all files, in MiB, until somebody stops it."""

    def step(done: int, total: int) -> bool:
        ctx.progress(done >> 20, total >> 20, "已擦除，正在查找所有文件", "erased; searching every file")
        return not ctx.cancelled()

    return step


def _erase(ctx: OperationContext, request: EraseRequest) -> ErasureReply:
    host = ctx.host
    if request.by != "subject" and len(request.proof.strip()) < 3:
        raise InvalidRequest(
            "代客户申请擦除，请填写证明文件的编号", "who asks for the customer gives the reference of the proof", code="PROOF_NEEDED"
        )
    asked = host.erasure.ask(
        ctx.caller, phone=request.phone, id_no=request.id_no, reason=request.reason, by=request.by, proof=request.proof,
        step=_step(ctx),
    )  # fmt: skip
    return _reply(host, asked, log_emptied=host.store.checkpoint())


def _confirm(ctx: OperationContext, request: ConfirmRequest) -> ErasureReply:
    host = ctx.host
    asked = host.erasure.confirm(ctx.caller, request.request, step=_step(ctx))
    return _reply(host, asked, log_emptied=host.store.checkpoint())


def _erasures(ctx: OperationContext, request: NoInput) -> ErasuresReply:
    return ErasuresReply(erasures=[_reply(ctx.host, one) for one in ctx.host.erasure.requests()])


def _restricted(ctx: OperationContext, request: RestrictedRequest) -> RestrictedReply:
    host = ctx.host
    if request.restriction:
        ids = [request.restriction]
    else:
        if not request.phone.strip() and not request.id_no.strip():
            raise InvalidRequest("请填写编号、手机号或身份证号", "give an id, a phone number or an identity number")
        ids = [one.id for one in host.erasure.find(phone=request.phone, id_no=request.id_no)]
    with host.store.read() as reader:
        opened = [host.restricted.open(reader, one) for one in ids]
    values = {"restrictions": " ".join(ids), "reason": request.reason}
    host.store.write(
        lambda tx: host.evidence.append(tx, "evidence.restricted_read", values, actor=ctx.caller.person.token)
    )
    return RestrictedReply(
        found=[
            RestrictedValue(
                restriction=_restriction(one),
                values={name: _shown(one, value) for name, value in found.items()},
            )
            for one, found in opened
        ]
    )


def _shown(one: Restriction, value: bytes) -> str:
    """A value as people read it: the text of an entry's field, a record that is a JSON object, else hexadecimal."""
    if one.entry >= 0:
        return value[SALT_SIZE:].decode("utf-8", "replace")
    text = value.decode("utf-8", "replace")
    return text if text.startswith("{") and "\ufffd" not in text else value.hex()


ERASURE_OPERATIONS = (
    Operation(
        name="customers.erase", zh="擦除一位客户", en="erase a customer", request=EraseRequest, reply=ErasureReply,
        roles=COMPLIANCE, run=_erase, fresh_password=True, long=True,
        evidence=("customers.erasure_asked", "evidence.restricted", "evidence.erased", "customers.erasure_searched"),
    ),
    Operation(
        name="customers.confirm_erasure", zh="确认擦除一位客户", en="confirm the erasure of a customer",
        request=ConfirmRequest, reply=ErasureReply, roles=COMPLIANCE, run=_confirm, fresh_password=True, long=True,
        evidence=("customers.erasure_confirmed", "evidence.restricted", "evidence.erased", "customers.erasure_searched"),
    ),
    Operation(
        name="customers.erasures", zh="查看擦除与到期日", en="read erasures and their terms", request=NoInput,
        reply=ErasuresReply, roles=MAY_READ, run=_erasures, reads_only=True,
    ),
    Operation(
        name="customers.restricted", zh="查看限制存放的内容", en="read what is in restricted storage",
        request=RestrictedRequest, reply=RestrictedReply, roles=MAY_READ, run=_restricted, fresh_password=True,
        evidence=("evidence.restricted_read",),
    ),
)  # fmt: skip

__all__ = ["ERASURE_OPERATIONS"]
